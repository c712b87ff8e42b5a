"""Whose model it is, and whether a call is on the vendor's own account.

Belongs here: names only, by documented prefixes and hosts; no setting, no database.
In: what Hermes recorded about a call. Out: the vendor's slug, and the route: ``account`` or
``off_account:<who bills>``.

Only a call that the model's own vendor bills, through its own API, appears in that vendor's usage reports. All others
(a subscription, a router, a cloud's model garden, a machine of one's own) never do, so comparing them with a
provider's figure would compare different things.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

ACCOUNT: Final = "account"
OFF_ACCOUNT: Final = "off_account:"
UNKNOWN: Final = "unknown"

_SLUG_CHARACTERS_MAX = 60

# The name as the vendor itself writes it.
_NATIVE_NAMES: Final = (
    (
        re.compile(r"(?:chat)?gpt-|o[134](?:-|$)|codex-|text-embedding-|omni-moderation|dall-e-|whisper-|tts-1"),
        "openai",
    ),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-|gemma-"), "google"),
    (re.compile(r"deepseek-"), "deepseek"),
    (re.compile(r"(?:mistral|mixtral|magistral|codestral|ministral|devstral|pixtral)-"), "mistral"),
    (re.compile(r"llama-?\d"), "meta"),
    (re.compile(r"grok-"), "xai"),
    (re.compile(r"kimi-|moonshot-"), "moonshot"),
    (re.compile(r"qw(?:en|q)[\d.-]"), "alibaba"),
    (re.compile(r"minimax-"), "minimax"),
    (re.compile(r"glm-"), "zai"),
    (re.compile(r"hermes-\d"), "nous"),
)

# What routers ("vendor/model") and Bedrock ("vendor.model") write in front of the name.
_VENDOR_PREFIXES: Final = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "gemini": "google",
    "deepseek": "deepseek",
    "deepseek-ai": "deepseek",
    "mistral": "mistral",
    "mistralai": "mistral",
    "meta": "meta",
    "meta-llama": "meta",
    "x-ai": "xai",
    "xai": "xai",
    "moonshot": "moonshot",
    "moonshotai": "moonshot",
    "qwen": "alibaba",
    "alibaba": "alibaba",
    "minimax": "minimax",
    "z-ai": "zai",
    "zai-org": "zai",
    "nousresearch": "nous",
    "amazon": "amazon",
    "cohere": "cohere",
    "tencent": "tencent",
}

_BEDROCK_REGION = re.compile(r"(?:us|eu|apac|us-gov|jp|au|ca|global)\.")
_FINE_TUNED = re.compile(r"ft:")

_LABELS: Final = {"": UNKNOWN, "google-ai": "google", "gemini": "google"}

# The vendors whose own API an account stands for, with the names that Hermes gives their billing. `openai-codex` is
# missing on purpose: that is the ChatGPT subscription, which the organisation's usage reports do not contain.
_OWN_API_NAMES: Final = {"openai": "openai", "openai-api": "openai", "anthropic": "anthropic"}

_OFFICIAL_HOSTS: Final = {
    "openai": re.compile(r"(?:[a-z0-9-]+\.)?api\.openai\.com"),
    "anthropic": re.compile(r"api\.anthropic\.com"),
}

# Services that speak a vendor's protocol: a client configured as "openai" may well talk to one of them.
_OTHER_HOSTS: Final = (
    (re.compile(r"chatgpt\.com"), "openai-codex"),
    (re.compile(r"(?:.+\.)?openrouter\.ai"), "openrouter"),
    (re.compile(r"bedrock[a-z-]*\.[a-z0-9-]+\.amazonaws\.com"), "bedrock"),
    (re.compile(r".+\.(?:openai|cognitiveservices|services\.ai)\.azure\.com"), "azure"),
    (re.compile(r"(?:[a-z0-9-]+-)?aiplatform\.googleapis\.com"), "vertex"),
    (re.compile(r"localhost|127(?:\.\d+){3}|::1|0\.0\.0\.0|.+\.local"), "local"),
)

# Names that say how a call was chosen, not who bills it.
_NOT_A_BILLER: Final = frozenset({"", UNKNOWN, "auto", "moa", "none"})


def provider_slug(label: str) -> str:
    """The canonical slug of a vendor's label: ``OpenAI`` → ``openai``, ``Unknown`` or nothing → ``unknown``."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.strip().lower()).strip("-")[:_SLUG_CHARACTERS_MAX]
    return _LABELS.get(slug, slug)


def vendor_of_native_model(model: str) -> str:
    """The vendor of a model written as the vendor writes it; ``unknown`` for a name with a router's prefix.

    The rule for payloads that state no provider: a prefixed name was reached through somebody else, and calling it
    the vendor's own would put it on the vendor's account.
    """
    name = model.strip().lower()
    return next((vendor for pattern, vendor in _NATIVE_NAMES if pattern.match(name)), UNKNOWN)


def vendor_of_model(model: str) -> str:
    """The slug of the vendor that made ``model``, by the prefixes of its name; ``unknown`` where none is known.

    | written | vendor |
    | --- | --- |
    | ``gpt-5.4``, ``o3``, ``ft:gpt-4.1:org::id`` | openai |
    | ``claude-sonnet-4-6`` | anthropic |
    | ``anthropic/claude-sonnet-4.6``, ``x-ai/grok-4:free`` | the vendor before the slash |
    | ``us.anthropic.claude-…-v1:0``, ``anthropic.claude-…`` | the vendor after the region |
    | ``accounts/fireworks/models/deepseek-v3``, ``models/gemini-2.5-pro`` | by the last part |
    | ``openrouter/auto``, ``my-model`` | unknown |
    """
    *folders, name = model.strip().lower().split("/")
    for folder in reversed(folders):
        if folder in _VENDOR_PREFIXES:
            return _VENDOR_PREFIXES[folder]
    name = _FINE_TUNED.sub("", _BEDROCK_REGION.sub("", name, count=1), count=1)
    before_dot, dot, _ = name.partition(".")
    if dot and before_dot in _VENDOR_PREFIXES:
        return _VENDOR_PREFIXES[before_dot]
    return vendor_of_native_model(name)


def route_of(billing_provider: str | None, billing_base_url: str | None, billing_mode: str | None, vendor: str) -> str:
    """``account`` where the model's own vendor bills the call through its own API, else ``off_account:<who bills>``.

    ``vendor`` is the model's vendor (:func:`vendor_of_model`). Not for payloads v1 and v2, which record no billing:
    there a setting of the feed decides.

    | billing provider | base URL | mode | vendor | route |
    | --- | --- | --- | --- | --- |
    | openai, openai-api | none or ``https://api.openai.com/v1`` | any but a subscription | openai | account |
    | anthropic | none or ``https://api.anthropic.com`` | the same | anthropic | account |
    | none, auto, custom | an official host | the same | the host's | account |
    | openai | ``https://openrouter.ai/api/v1`` | any | any | off_account:openrouter |
    | openai | ``https://proxy.example/v1`` | any | openai | off_account:openai |
    | openai-codex | any | subscription_included | openai | off_account:openai-codex |
    | anthropic | none | subscription_included | anthropic | off_account:anthropic |
    | openrouter | any | any | anthropic | off_account:openrouter |
    | gemini | its own API | any | google | off_account:gemini |
    | none, auto, moa, unknown | none or a strange host | any | any | off_account:unknown |
    """
    host = _host_of(billing_base_url)
    biller = _biller(_slug_of_biller(billing_provider), host)
    if biller in _NOT_A_BILLER:
        return f"{OFF_ACCOUNT}{UNKNOWN}"
    own_api_of = _OWN_API_NAMES.get(biller)
    subscription = (billing_mode or "").strip().lower().startswith("subscription")
    official = own_api_of is not None and (not host or _OFFICIAL_HOSTS[own_api_of].fullmatch(host) is not None)
    if official and own_api_of == vendor and not subscription:
        return ACCOUNT
    return f"{OFF_ACCOUNT}{biller}"


def _biller(named: str, host: str) -> str:
    """Who bills: a known host tells more than the name of the client that called it."""
    for pattern, service in _OTHER_HOSTS:
        if host and pattern.fullmatch(host):
            return named if named not in _NOT_A_BILLER | _OWN_API_NAMES.keys() | {"custom"} else service
    if named in _NOT_A_BILLER or named == "custom":
        for vendor, pattern in _OFFICIAL_HOSTS.items():
            if host and pattern.fullmatch(host):
                return vendor
    return named


def _slug_of_biller(name: str | None) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", (name or "").strip().lower())[:_SLUG_CHARACTERS_MAX]


def _host_of(base_url: str | None) -> str:
    """The host of a base URL, lower-case; ``""`` for none, ``?`` for what cannot be read as one."""
    written = (base_url or "").strip()
    if not written:
        return ""
    try:
        return urlsplit(written if "://" in written else f"//{written}").hostname or "?"
    except ValueError:
        return "?"
