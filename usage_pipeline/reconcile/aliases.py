"""The canonical model: the name on which provider and Hermes meet.

A dated snapshot becomes its alias where the table knows it; vendor and region prefixes are taken off by rule; any
other name stays as it is. An unknown name is never mapped to a guess. Rows keep the name as reported, prices use that.
"""

from __future__ import annotations

import re
from functools import lru_cache

ALIAS_VERSION = "2026-11-21.2"
"""The version of the table, stored on every reconciled row."""

_VENDORS = (
    "openai|anthropic|google|gemini|deepseek|deepseek-ai|mistral|mistralai|meta|meta-llama|x-ai|xai|moonshot|moonshotai"
    "|qwen|alibaba|minimax|z-ai|zai|zai-org|nousresearch|amazon|cohere|tencent"
)
_ROUTER_PREFIX = re.compile(rf"(?:{_VENDORS})/(?=.)")
_BEDROCK_PREFIX = re.compile(rf"(?:(?:us|eu|apac|us-gov|jp|au|ca|global)\.)?(?:{_VENDORS})\.(?=.)")
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?$")

# Snapshots and the alias that their vendors' model pages give them. docs/models.md repeats the table.
SNAPSHOTS: dict[str, str] = {
    "gpt-3.5-turbo-0125": "gpt-3.5-turbo",
    "gpt-3.5-turbo-1106": "gpt-3.5-turbo",
    "gpt-4-0314": "gpt-4",
    "gpt-4-0613": "gpt-4",
    "gpt-4-turbo-2024-04-09": "gpt-4-turbo",
    "gpt-4o-2024-05-13": "gpt-4o",
    "gpt-4o-2024-08-06": "gpt-4o",
    "gpt-4o-2024-11-20": "gpt-4o",
    "gpt-4o-mini-2024-07-18": "gpt-4o-mini",
    "gpt-4o-audio-preview-2024-10-01": "gpt-4o-audio-preview",
    "gpt-4o-audio-preview-2024-12-17": "gpt-4o-audio-preview",
    "gpt-4o-audio-preview-2025-06-03": "gpt-4o-audio-preview",
    "gpt-4o-mini-audio-preview-2024-12-17": "gpt-4o-mini-audio-preview",
    "gpt-4o-realtime-preview-2024-10-01": "gpt-4o-realtime-preview",
    "gpt-4o-realtime-preview-2024-12-17": "gpt-4o-realtime-preview",
    "gpt-4o-realtime-preview-2025-06-03": "gpt-4o-realtime-preview",
    "gpt-4o-mini-realtime-preview-2024-12-17": "gpt-4o-mini-realtime-preview",
    "gpt-4o-search-preview-2025-03-11": "gpt-4o-search-preview",
    "gpt-4o-mini-search-preview-2025-03-11": "gpt-4o-mini-search-preview",
    "gpt-4.1-2025-04-14": "gpt-4.1",
    "gpt-4.1-mini-2025-04-14": "gpt-4.1-mini",
    "gpt-4.1-nano-2025-04-14": "gpt-4.1-nano",
    "o1-2024-12-17": "o1",
    "o1-mini-2024-09-12": "o1-mini",
    "o1-preview-2024-09-12": "o1-preview",
    "o1-pro-2025-03-19": "o1-pro",
    "o3-2025-04-16": "o3",
    "o3-mini-2025-01-31": "o3-mini",
    "o3-pro-2025-06-10": "o3-pro",
    "o3-deep-research-2025-06-26": "o3-deep-research",
    "o4-mini-2025-04-16": "o4-mini",
    "o4-mini-deep-research-2025-06-26": "o4-mini-deep-research",
    "gpt-5-2025-08-07": "gpt-5",
    "gpt-5-mini-2025-08-07": "gpt-5-mini",
    "gpt-5-nano-2025-08-07": "gpt-5-nano",
    "gpt-5-pro-2025-10-06": "gpt-5-pro",
    "gpt-5.1-2025-11-13": "gpt-5.1",
    "gpt-5.2-2025-12-11": "gpt-5.2",
    "gpt-5.2-pro-2025-12-11": "gpt-5.2-pro",
    "gpt-5.4-2026-03-05": "gpt-5.4",
    "gpt-5.4-mini-2026-03-17": "gpt-5.4-mini",
    "gpt-5.4-nano-2026-03-17": "gpt-5.4-nano",
    "gpt-5.4-pro-2026-03-05": "gpt-5.4-pro",
    "gpt-5.5-2026-04-23": "gpt-5.5",
    "gpt-5.5-2026-04-24": "gpt-5.5",
    "gpt-5.5-pro-2026-04-23": "gpt-5.5-pro",
    "gpt-audio-2025-08-28": "gpt-audio",
    "gpt-audio-mini-2025-10-06": "gpt-audio-mini",
    "gpt-audio-mini-2025-12-15": "gpt-audio-mini",
    "gpt-realtime-2025-08-28": "gpt-realtime",
    "gpt-realtime-mini-2025-10-06": "gpt-realtime-mini",
    "gpt-realtime-mini-2025-12-15": "gpt-realtime-mini",
    "gpt-image-1.5-2025-12-16": "gpt-image-1.5",
    "gpt-image-2-2026-04-21": "gpt-image-2",
    "gpt-image-2.5-flare-2026-09-08": "gpt-image-2.5-flare",
    "gpt-image-2.5-sunburst-2026-09-08": "gpt-image-2.5-sunburst",
    "omni-moderation-2024-09-26": "omni-moderation-latest",
    "claude-3-haiku-20240307": "claude-3-haiku",
    "claude-3-sonnet-20240229": "claude-3-sonnet",
    "claude-3-opus-20240229": "claude-3-opus",
    "claude-3-opus-latest": "claude-3-opus",
    "claude-3-5-haiku-20241022": "claude-3-5-haiku",
    "claude-3-5-haiku-latest": "claude-3-5-haiku",
    "claude-3-5-sonnet-20240620": "claude-3-5-sonnet",
    "claude-3-5-sonnet-20241022": "claude-3-5-sonnet",
    "claude-3-5-sonnet-latest": "claude-3-5-sonnet",
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
    name = vendors_name(reported)
    return SNAPSHOTS.get(name, name)


@lru_cache(maxsize=65536)
def vendors_name(reported: str) -> str:
    """The name as its vendor writes it, the snapshot kept: what a list price is looked up by."""
    for prefix in (_ROUTER_PREFIX, _BEDROCK_PREFIX):
        if written := prefix.match(reported):
            name = reported[written.end() :]
            bare = _BEDROCK_VERSION.sub("", name)
            return bare if bare in SNAPSHOTS else name
    return reported
