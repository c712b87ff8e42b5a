"""Who the Anthropic organisation's identifiers stand for: its name, workspaces, keys and people.

The identifiers are those of ``organisations``; only what the lists of the administration API tell beside them is here.
All names are invented. The default workspace has a real identifier here that the reports never show.
"""

from __future__ import annotations

from dataclasses import dataclass

from usage_pipeline.sandbox.organisations import WORKSPACE_PLATFORM, WORKSPACE_RESEARCH

ORGANISATION_ID = "5a9db0c5-0000-4000-8000-00000a47e0c1"
ORGANISATION_NAME = "Sandbox Works"
WORKSPACE_DEFAULT_REAL_ID = "wrkspc_01SandboxDefault"
_WORKSPACE_RETIRED = "wrkspc_01SandboxRetired"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace. Times are RFC 3339 UTC."""

    id: str
    name: str
    created_at: str
    archived_at: str | None = None
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key. ``workspace_id`` is the workspace's real identifier."""

    id: str
    name: str
    workspace_id: str
    status: str
    created_at: str
    created_by_user_id: str


@dataclass(frozen=True, slots=True)
class User:
    """A member of the organisation."""

    id: str
    email: str
    name: str
    role: str
    added_at: str


WORKSPACES = (
    Workspace(WORKSPACE_DEFAULT_REAL_ID, "Default", "2025-01-08T09:00:00Z", is_default=True),
    Workspace(WORKSPACE_PLATFORM, "Platform", "2025-01-08T09:30:00Z"),
    Workspace(WORKSPACE_RESEARCH, "Research", "2025-02-03T10:00:00Z"),
    Workspace(_WORKSPACE_RETIRED, "Prototypes", "2025-02-10T10:00:00Z", archived_at="2025-09-01T08:00:00Z"),
)
USERS = (
    User("user_01SandboxAna", "ana@sandbox.example", "Ana", "admin", "2025-01-08T09:00:00Z"),
    User("user_01SandboxBo", "bo@sandbox.example", "Bo", "developer", "2025-01-09T09:00:00Z"),
    User("user_01SandboxChen", "chen@sandbox.example", "Chen", "claude_code_user", "2025-02-03T10:00:00Z"),
)
_ANA, _BO, _CHEN = (user.id for user in USERS)
API_KEYS = (
    ApiKey("apikey_01SandboxHermes", "hermes", WORKSPACE_PLATFORM, "active", "2025-01-10T09:00:00Z", _ANA),
    ApiKey("apikey_01SandboxWeb", "web", WORKSPACE_PLATFORM, "active", "2025-01-10T09:10:00Z", _ANA),
    ApiKey("apikey_01SandboxLab", "lab", WORKSPACE_RESEARCH, "active", "2025-02-04T09:00:00Z", _CHEN),
    ApiKey("apikey_01SandboxBatch", "batch", WORKSPACE_RESEARCH, "active", "2025-02-04T09:20:00Z", _CHEN),
    ApiKey(
        "apikey_01SandboxPlayground", "playground", WORKSPACE_DEFAULT_REAL_ID, "inactive", "2025-03-01T09:00:00Z", _BO
    ),
    ApiKey("apikey_01SandboxOld", "prototype", _WORKSPACE_RETIRED, "archived", "2025-02-11T09:00:00Z", _BO),
)
EMAIL_OF_USER = {user.id: user.email for user in USERS}
NAME_OF_KEY = {key.id: key.name for key in API_KEYS}
