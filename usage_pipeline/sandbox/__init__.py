"""A real HTTP server on loopback that speaks the providers' contracts, deterministically from a seed.

The demo and the tests read from it instead of a provider. It is written from the contracts, strictly, and shares no
code with the pipeline's own clients.
"""

from __future__ import annotations

from usage_pipeline.sandbox.faces import (
    DEFAULT_ANTHROPIC_KEY,
    DEFAULT_LITELLM_KEY,
    DEFAULT_LITELLM_VIRTUAL_KEY,
    DEFAULT_OPENAI_KEY,
    DEFAULT_OPENAI_KEY_WITHOUT_SCOPE,
    DEFAULT_OPENAI_STANDARD_KEY,
    DEFAULT_OPENAI_USAGE_ONLY_KEY,
    DEFAULT_OPENROUTER_INFERENCE_KEY,
    DEFAULT_OPENROUTER_KEY,
)
from usage_pipeline.sandbox.hermes_payload import hermes_payload
from usage_pipeline.sandbox.server import LoggedRequest, SandboxServer
from usage_pipeline.sandbox.switches import Fault, FaultKind, Switches
from usage_pipeline.sandbox.world import Alterations, TokenTotals, Vanish, World

__all__ = [
    "DEFAULT_ANTHROPIC_KEY",
    "DEFAULT_LITELLM_KEY",
    "DEFAULT_LITELLM_VIRTUAL_KEY",
    "DEFAULT_OPENAI_KEY",
    "DEFAULT_OPENAI_KEY_WITHOUT_SCOPE",
    "DEFAULT_OPENAI_STANDARD_KEY",
    "DEFAULT_OPENAI_USAGE_ONLY_KEY",
    "DEFAULT_OPENROUTER_INFERENCE_KEY",
    "DEFAULT_OPENROUTER_KEY",
    "Alterations",
    "Fault",
    "FaultKind",
    "LoggedRequest",
    "SandboxServer",
    "Switches",
    "TokenTotals",
    "Vanish",
    "World",
    "hermes_payload",
]
