"""The canonical model: the name on which provider and Hermes meet.

A dated snapshot becomes its alias where the table knows it; vendor and region prefixes are taken off by rule; any
other name stays as it is. An unknown name is never mapped to a guess. Rows keep the name as reported, prices use that.
"""

from __future__ import annotations

import re
from functools import lru_cache

ALIAS_VERSION = "2026-11-21"
"""The version of the table, stored on every reconciled row."""

_VENDORS = (
    "openai|anthropic|google|gemini|deepseek|deepseek-ai|mistral|mistralai|meta|meta-llama|x-ai|xai|moonshot|moonshotai"
    "|qwen|alibaba|minimax|z-ai|zai|zai-org|nousresearch|amazon|cohere|tencent"
)
_ROUTER_PREFIX = re.compile(rf"(?:{_VENDORS})/(?=.)")
_BEDROCK_PREFIX = re.compile(rf"(?:(?:us|eu|apac|us-gov|jp|au|ca|global)\.)?(?:{_VENDORS})\.(?=.)")
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?$")

# Snapshots and the alias that their vendors' model pages give them.
SNAPSHOTS: dict[str, str] = {
    "gpt-4o-2024-05-13": "gpt-4o",
    "gpt-4o-2024-08-06": "gpt-4o",
    "gpt-4o-2024-11-20": "gpt-4o",
    "gpt-4o-mini-2024-07-18": "gpt-4o-mini",
    "gpt-4.1-2025-04-14": "gpt-4.1",
    "gpt-4.1-mini-2025-04-14": "gpt-4.1-mini",
    "gpt-4.1-nano-2025-04-14": "gpt-4.1-nano",
    "o1-2024-12-17": "o1",
    "o1-mini-2024-09-12": "o1-mini",
    "o3-2025-04-16": "o3",
    "o3-mini-2025-01-31": "o3-mini",
    "o3-pro-2025-06-10": "o3-pro",
    "o4-mini-2025-04-16": "o4-mini",
    "gpt-5-2025-08-07": "gpt-5",
    "gpt-5-mini-2025-08-07": "gpt-5-mini",
    "gpt-5-nano-2025-08-07": "gpt-5-nano",
    "gpt-5-pro-2025-10-06": "gpt-5-pro",
    "gpt-5.1-2025-11-13": "gpt-5.1",
    "gpt-5.2-2025-12-11": "gpt-5.2",
    "claude-3-haiku-20240307": "claude-3-haiku",
    "claude-3-opus-20240229": "claude-3-opus",
    "claude-3-5-haiku-20241022": "claude-3-5-haiku",
    "claude-3-5-haiku-latest": "claude-3-5-haiku",
    "claude-3-5-sonnet-20240620": "claude-3-5-sonnet",
    "claude-3-5-sonnet-20241022": "claude-3-5-sonnet",
    "claude-3-7-sonnet-20250219": "claude-3-7-sonnet",
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet",
    "claude-sonnet-4-20250514": "claude-sonnet-4",
    "claude-sonnet-4-0": "claude-sonnet-4",
    "claude-opus-4-20250514": "claude-opus-4",
    "claude-opus-4-0": "claude-opus-4",
    "claude-opus-4-1-20250805": "claude-opus-4-1",
    "claude-sonnet-4-5-20250929": "claude-sonnet-4-5",
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
    "claude-opus-4-5-20251101": "claude-opus-4-5",
}


@lru_cache(maxsize=65536)
def canonical_model(reported: str) -> str:
    """The canonical name of a model as reported by either side.

    Bedrock writes a version of its own after a snapshot's name (``-v1:0``); it goes where the table knows the snapshot.
    """
    for prefix in (_ROUTER_PREFIX, _BEDROCK_PREFIX):
        if written := prefix.match(reported):
            name = reported[written.end() :]
            return SNAPSHOTS.get(name) or SNAPSHOTS.get(_BEDROCK_VERSION.sub("", name), name)
    return SNAPSHOTS.get(reported, reported)
