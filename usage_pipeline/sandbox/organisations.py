"""Who spends in the sandbox: the two organisations, their projects, workspaces, people and keys, and their streams.

A *stream* is one steady user of tokens (an application with a key, a model and a tier) with its rhythm over the week.
Nothing is generated here: ``traffic`` turns streams into rows. All names are invented; no real identifier appears.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

OPENAI_ORGANISATION_ID = "org-sandboxopenai"
OPENAI_ORGANISATION_NAME = "Sandbox Works"

PROJECT_NAMES = {
    "proj_sandbox_assistant": "Assistant",
    "proj_sandbox_research": "Research",
    "proj_sandbox_support": "Support",
}
USER_EMAILS = {
    "user-sandbox-ana": "ana@sandbox.example",
    "user-sandbox-bo": "bo@sandbox.example",
    "user-sandbox-chen": "chen@sandbox.example",
    "user-sandbox-service": "service@sandbox.example",
}

DEFAULT_WORKSPACE: str | None = None
"""Anthropic's reports write the default workspace as null."""
WORKSPACE_PLATFORM = "wrkspc_01SandboxPlatform"
WORKSPACE_RESEARCH = "wrkspc_01SandboxResearch"


class Rhythm(enum.Enum):
    """When a stream is awake, in UTC hours."""

    OFFICE = "office"
    ROUND_THE_CLOCK = "round the clock"
    NIGHTLY = "nightly"


@dataclass(frozen=True, slots=True)
class OpenAiStream:
    """One OpenAI consumer. Sizes are tokens per call; shares are of the input or the output."""

    project_id: str
    user_id: str
    api_key_id: str
    model: str
    calls_per_hour: int
    input_tokens_per_call: int
    output_tokens_per_call: int
    service_tier: str = "default"
    batch: bool = False
    api_source: str = "unlabeled"
    rhythm: Rhythm = Rhythm.OFFICE
    cached_share: float = 0.0
    cache_write_share: float = 0.0
    image_share: float = 0.0
    audio_share: float = 0.0
    reasoning_share: float = 0.0
    hermes: bool = False


@dataclass(frozen=True, slots=True)
class AnthropicStream:
    """One Anthropic consumer. ``api_key_id`` is null for Console use and for a service account."""

    workspace_id: str | None
    api_key_id: str | None
    model: str
    calls_per_hour: int
    input_tokens_per_call: int
    output_tokens_per_call: int
    account_id: str | None = None
    service_account_id: str | None = None
    service_tier: str = "standard"
    context_window: str = "0-200k"
    inference_geo: str = "not_available"
    rhythm: Rhythm = Rhythm.OFFICE
    cached_share: float = 0.0
    cache_5m_share: float = 0.0
    cache_1h_share: float = 0.0
    web_searches_per_call: float = 0.0
    hermes: bool = False


_ASSISTANT, _RESEARCH, _SUPPORT = PROJECT_NAMES
_ANA, _BO, _CHEN, _SERVICE = USER_EMAILS
_GPT5, _GPT5_MINI = "gpt-5-2025-08-07", "gpt-5-mini-2025-08-07"
_GPT4O_MINI, _O3 = "gpt-4o-mini-2024-07-18", "o3-2025-04-16"
_HERMES_KEY, _WEB_KEY, _LAB_KEY, _NIGHT_KEY, _HELP_KEY = (
    "key_sandbox_hermes",
    "key_sandbox_web",
    "key_sandbox_lab",
    "key_sandbox_night",
    "key_sandbox_help",
)
_CLOCK, _NIGHTLY = Rhythm.ROUND_THE_CLOCK, Rhythm.NIGHTLY

OPENAI_STREAMS: tuple[OpenAiStream, ...] = (
    OpenAiStream(
        _ASSISTANT, _ANA, _HERMES_KEY, _GPT5, 40, 5200, 620, cached_share=0.45, reasoning_share=0.4, hermes=True
    ),
    OpenAiStream(
        _ASSISTANT,
        _ANA,
        _HERMES_KEY,
        _GPT5_MINI,
        90,
        2400,
        310,
        rhythm=_CLOCK,
        cached_share=0.35,
        reasoning_share=0.3,
        hermes=True,
    ),
    OpenAiStream(_ASSISTANT, _BO, _HERMES_KEY, _GPT4O_MINI, 60, 1500, 240, cached_share=0.2, hermes=True),
    OpenAiStream(
        _ASSISTANT, _SERVICE, _WEB_KEY, _GPT5, 55, 6100, 540, cached_share=0.4, cache_write_share=0.1, image_share=0.08
    ),
    OpenAiStream(
        _ASSISTANT, _SERVICE, _WEB_KEY, _GPT5, 9, 4000, 500, service_tier="priority", cached_share=0.3, rhythm=_CLOCK
    ),
    OpenAiStream(_ASSISTANT, _SERVICE, _WEB_KEY, _GPT5_MINI, 120, 1900, 260, cached_share=0.25, rhythm=_CLOCK),
    OpenAiStream(_RESEARCH, _CHEN, _LAB_KEY, _O3, 14, 9800, 2300, cached_share=0.15, reasoning_share=0.7),
    OpenAiStream(
        _RESEARCH, _CHEN, _LAB_KEY, _O3, 8, 12000, 1900, service_tier="flex", api_source="agents_api", cached_share=0.1
    ),
    OpenAiStream(_RESEARCH, _BO, _LAB_KEY, _GPT5, 18, 7400, 900, cached_share=0.3, cache_write_share=0.05),
    OpenAiStream(_RESEARCH, _CHEN, _NIGHT_KEY, _GPT4O_MINI, 800, 1100, 180, batch=True, rhythm=_NIGHTLY),
    OpenAiStream(_RESEARCH, _CHEN, _NIGHT_KEY, _GPT5_MINI, 300, 2000, 350, batch=True, rhythm=_NIGHTLY),
    OpenAiStream(_SUPPORT, _SERVICE, _HELP_KEY, _GPT4O_MINI, 150, 900, 210, cached_share=0.3, rhythm=_CLOCK),
    OpenAiStream(_SUPPORT, _SERVICE, _HELP_KEY, _GPT5_MINI, 70, 1700, 230, cached_share=0.3),
    OpenAiStream(
        _SUPPORT,
        _SERVICE,
        _HELP_KEY,
        "gpt-realtime-2025-08-28",
        6,
        1800,
        420,
        cached_share=0.3,
        audio_share=0.6,
    ),
)

_SONNET, _OPUS = "claude-sonnet-4-5-20250929", "claude-opus-4-1-20250805"
_HAIKU, _OPUS_2026 = "claude-haiku-4-5-20251001", "claude-opus-4-6"
_A_HERMES, _A_WEB, _A_LAB, _A_BATCH = (
    "apikey_01SandboxHermes",
    "apikey_01SandboxWeb",
    "apikey_01SandboxLab",
    "apikey_01SandboxBatch",
)

ANTHROPIC_STREAMS: tuple[AnthropicStream, ...] = (
    AnthropicStream(
        WORKSPACE_PLATFORM,
        _A_HERMES,
        _SONNET,
        45,
        6800,
        700,
        cached_share=0.5,
        cache_5m_share=0.15,
        rhythm=_CLOCK,
        hermes=True,
    ),
    AnthropicStream(WORKSPACE_PLATFORM, _A_HERMES, _HAIKU, 80, 2100, 260, cached_share=0.2, hermes=True),
    AnthropicStream(
        WORKSPACE_PLATFORM, _A_HERMES, _OPUS, 7, 8200, 1100, cached_share=0.4, cache_5m_share=0.2, hermes=True
    ),
    AnthropicStream(
        WORKSPACE_PLATFORM,
        _A_WEB,
        _SONNET,
        60,
        5200,
        520,
        cached_share=0.4,
        cache_5m_share=0.1,
        cache_1h_share=0.05,
        web_searches_per_call=0.2,
    ),
    AnthropicStream(
        WORKSPACE_PLATFORM, _A_WEB, _HAIKU, 140, 1800, 240, cached_share=0.3, cache_5m_share=0.1, rhythm=_CLOCK
    ),
    AnthropicStream(WORKSPACE_RESEARCH, _A_LAB, _SONNET, 3, 310000, 2400, context_window="200k-1M", cached_share=0.3),
    AnthropicStream(
        WORKSPACE_RESEARCH,
        _A_LAB,
        _OPUS,
        9,
        9000,
        1500,
        cached_share=0.3,
        cache_1h_share=0.2,
        web_searches_per_call=0.4,
    ),
    AnthropicStream(WORKSPACE_RESEARCH, _A_LAB, _OPUS_2026, 12, 7000, 1200, inference_geo="global", cached_share=0.35),
    AnthropicStream(WORKSPACE_RESEARCH, _A_BATCH, _HAIKU, 500, 1400, 300, service_tier="batch", rhythm=_NIGHTLY),
    AnthropicStream(WORKSPACE_RESEARCH, _A_BATCH, _SONNET, 120, 2600, 500, service_tier="batch", rhythm=_NIGHTLY),
    AnthropicStream(DEFAULT_WORKSPACE, _A_WEB, _HAIKU, 30, 1200, 200, cached_share=0.1),
    AnthropicStream(
        DEFAULT_WORKSPACE, None, _SONNET, 6, 2500, 600, account_id="user_01SandboxAna", web_searches_per_call=0.1
    ),
    AnthropicStream(
        WORKSPACE_PLATFORM, None, _HAIKU, 20, 1500, 220, service_account_id="svac_01SandboxDeploy", cached_share=0.2
    ),
)
