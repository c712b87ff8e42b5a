"""The faces of the sandbox: which API a path belongs to, who may call it, what answers, and how it refuses.

A *face* is one provider's API. In: a method and a path. Out: the face, and the function that answers. Adding a
provider is adding a :class:`Face` to :data:`FACES`; the server knows no provider by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from usage_pipeline.sandbox import (
    anthropic_api,
    anthropic_claude_code,
    anthropic_lists,
    anthropic_request,
    litellm_api,
    litellm_request,
    openai_api,
    openai_legacy,
    openai_lists,
    openai_request,
    openai_services_api,
    openrouter_api,
)
from usage_pipeline.sandbox.exchange import Answer, ApiRequest, Document, Grants, Refusal, Scene
from usage_pipeline.sandbox.litellm_traffic import WEB_KEY
from usage_pipeline.sandbox.paging import page_number_of
from usage_pipeline.sandbox.switches import ANTHROPIC_COSTS_PATH, ANTHROPIC_USAGE_PATH

Answerer = Callable[[ApiRequest, Scene], Answer]

DEFAULT_OPENAI_KEY = "sk-admin-sandbox-openai"
DEFAULT_OPENAI_USAGE_ONLY_KEY = "sk-admin-sandbox-usage-only"
DEFAULT_OPENAI_KEY_WITHOUT_SCOPE = "sk-proj-sandbox-openai"
DEFAULT_OPENAI_STANDARD_KEY = "sk-proj-sandbox-hermes"
"""Belongs to the sandbox's ``key_sandbox_hermes``; the legacy endpoint takes it, no other does."""
DEFAULT_ANTHROPIC_KEY = "sk-ant-admin01-sandbox-anthropic"
DEFAULT_OPENROUTER_KEY = "sk-or-v1-sandbox-management"
DEFAULT_OPENROUTER_INFERENCE_KEY = "sk-or-v1-sandbox-inference"
"""May call models; of the paths here only ``/key`` takes it."""
DEFAULT_LITELLM_KEY = "sk-sandbox-litellm-master"
DEFAULT_LITELLM_VIRTUAL_KEY = WEB_KEY.secret
"""Sees only what its own user spent, without being told so."""

_PARAMETER = re.compile(r"\\\{(\w+)\\\}")


def page_by_token(request: ApiRequest) -> int:
    """The number, from 1, of the page that an opaque ``page`` token asks for."""
    return page_number_of(request.value("page"))


@dataclass(frozen=True, slots=True)
class Face:
    """One provider's API.

    ``name`` is what the server's ``keys`` and :meth:`SandboxServer.base_url` call it; ``base_path`` is what stands
    between the host and the paths a client adds. A path belongs to the first face that serves it, else to the first
    with one of its ``prefixes``. ``gets`` and ``posts`` map a path to what answers it; ``{name}`` in a path stands for
    one segment, which the function finds in ``request.parts``. ``authenticate`` raises Refusal, or returns who is
    calling (``scene.caller``). ``refusal(status, message)`` is the answer to an unknown path (404) or method (405),
    ``fault_body(status)`` the body of a forced status. ``page_number`` tells a fault which page is asked for.
    """

    name: str
    base_path: str
    prefixes: tuple[str, ...]
    gets: Mapping[str, Answerer]
    authenticate: Callable[[ApiRequest, Grants], str | None]
    refusal: Callable[[int, str], Refusal]
    fault_body: Callable[[int], Document]
    default_keys: Grants
    posts: Mapping[str, Answerer] = field(default_factory=dict)
    request_id_header: str = "x-request-id"
    page_number: Callable[[ApiRequest], int] = page_by_token

    def serves(self, path: str) -> bool:
        """Whether any method of this path is answered."""
        return any(_match(pattern, path) is not None for pattern in (*self.gets, *self.posts))

    def answerer(self, method: str, path: str) -> tuple[Answerer, dict[str, str]]:
        """What answers, and the path's parameters. Raises Refusal: 404 for the path, 405 for the method."""
        for pattern, answerer in {"GET": self.gets, "POST": self.posts}.get(method, {}).items():
            parts = _match(pattern, path)
            if parts is not None:
                return answerer, parts
        if self.serves(path):
            raise self.refusal(405, f"Method {method} is not allowed.")
        raise self.refusal(404, f"Not found: {path}")


def face_of(path: str) -> Face:
    """The face that a path belongs to; the last one takes what no other wants."""
    served = next((face for face in FACES if face.serves(path)), None)
    return served or next((face for face in FACES if path.startswith(face.prefixes)), FACES[-1])


def face_named(name: str) -> Face:
    """The face of that name. Raises KeyError."""
    return {face.name: face for face in FACES}[name]


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", re.escape(pattern)))


def _match(pattern: str, path: str) -> dict[str, str] | None:
    matched = _pattern(pattern).fullmatch(path)
    return None if matched is None else matched.groupdict()


def _anthropic_refusal(status: int, message: str) -> Refusal:
    return anthropic_request.refuse(status, "not_found_error" if status == 404 else "invalid_request_error", message)


def _anthropic_fault_body(status: int) -> Document:
    kind, message = ("rate_limit_error", "Rate limit reached.") if status == 429 else ("api_error", _SERVER_ERROR)
    return anthropic_request.refuse(status, kind, message).body


def _openai_fault_body(status: int) -> Document:
    if status == 429:
        kind, code, message = "requests", "rate_limit_exceeded", "Rate limit reached."
        return openai_request.refuse(status, message, kind=kind, code=code).body
    return openai_request.refuse(status, _SERVER_ERROR, kind="server_error").body


_SERVER_ERROR = "The server had an error."

ANTHROPIC = Face(
    name="anthropic",
    base_path="",
    prefixes=("/v1/organizations/",),
    gets={
        ANTHROPIC_USAGE_PATH: anthropic_api.usage_messages,
        ANTHROPIC_COSTS_PATH: anthropic_api.cost_report,
        anthropic_claude_code.CLAUDE_CODE_PATH: anthropic_claude_code.claude_code,
        **anthropic_lists.GETS,
    },
    authenticate=anthropic_request.authenticate,
    refusal=_anthropic_refusal,
    fault_body=_anthropic_fault_body,
    default_keys={DEFAULT_ANTHROPIC_KEY: ()},
    request_id_header="request-id",
)
OPENROUTER = Face(
    name="openrouter",
    base_path="/openrouter/api/v1",
    prefixes=("/openrouter/",),
    gets=openrouter_api.GETS,
    authenticate=openrouter_api.authenticate,
    refusal=openrouter_api.refuse,
    fault_body=openrouter_api.fault_body,
    default_keys={
        DEFAULT_OPENROUTER_KEY: frozenset({openrouter_api.MANAGEMENT}),
        DEFAULT_OPENROUTER_INFERENCE_KEY: frozenset(),
    },
)
LITELLM = Face(
    name="litellm",
    base_path="/litellm",
    prefixes=("/litellm/",),
    gets=litellm_api.GETS,
    authenticate=litellm_request.authenticate,
    refusal=litellm_request.not_served,
    fault_body=litellm_request.fault_body,
    default_keys={
        DEFAULT_LITELLM_KEY: (litellm_request.PROXY_ADMIN,),
        DEFAULT_LITELLM_VIRTUAL_KEY: (WEB_KEY.user_id,),
    },
    request_id_header="x-litellm-call-id",
    page_number=litellm_request.page_number,
)
OPENAI = Face(
    name="openai",
    base_path="/v1",
    prefixes=("/",),
    gets={**openai_api.GETS, **openai_services_api.GETS, **openai_lists.GETS},
    authenticate=openai_request.authenticate,
    refusal=openai_request.refuse,
    fault_body=_openai_fault_body,
    default_keys={
        DEFAULT_OPENAI_KEY: frozenset({openai_request.USAGE_SCOPE, openai_request.MANAGEMENT_SCOPE}),
        DEFAULT_OPENAI_USAGE_ONLY_KEY: frozenset({openai_request.USAGE_SCOPE}),
        DEFAULT_OPENAI_KEY_WITHOUT_SCOPE: frozenset(),
        DEFAULT_OPENAI_STANDARD_KEY: frozenset(),
    },
    page_number=openai_request.page_number,
)
OPENAI_LEGACY = Face(
    name="openai_legacy",
    base_path="/v1",
    prefixes=(),
    gets=openai_legacy.GETS,
    authenticate=openai_legacy.authenticate,
    refusal=openai_request.refuse,
    fault_body=_openai_fault_body,
    default_keys={DEFAULT_OPENAI_STANDARD_KEY: ("key_sandbox_hermes",)},
)

FACES: tuple[Face, ...] = (ANTHROPIC, OPENROUTER, LITELLM, OPENAI_LEGACY, OPENAI)
"""Every face, the one that takes unknown paths last."""
