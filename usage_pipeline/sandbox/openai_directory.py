"""The OpenAI organisation's directory: its projects, people and keys, as the lists of the administration API tell them.

Nothing is answered here. One project is archived, and one key belongs to somebody who has left its project. All names
and keys are invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from usage_pipeline.sandbox.organisations import PROJECT_NAMES, USER_EMAILS

_FOUNDED_S: Final = 1735689600  # 2025-01-01 UTC
_DAY_S: Final = 86400
_ASSISTANT, _RESEARCH, _SUPPORT = PROJECT_NAMES
_ANA, _BO, _CHEN, _SERVICE = USER_EMAILS


@dataclass(frozen=True, slots=True)
class Project:
    """One project. Times are Unix seconds; ``archived_at_s`` is None while it is active."""

    id: str
    name: str
    created_at_s: int
    archived_at_s: int | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """One member of the organisation; a service account is one too."""

    id: str
    name: str
    email: str
    role: str
    added_at_s: int
    is_service_account: bool = False


@dataclass(frozen=True, slots=True)
class ProjectKey:
    """One standard key. ``owner_has_access`` is whether its owner is still in the project."""

    id: str
    name: str
    project_id: str
    owner_id: str
    redacted_value: str
    created_at_s: int
    owner_has_access: bool = True
    is_used: bool = True


@dataclass(frozen=True, slots=True)
class AdminKey:
    """One administration key."""

    id: str
    name: str
    redacted_value: str
    created_at_s: int


ARCHIVED_PROJECT_ID: Final = "proj_sandbox_pilot"
PROJECTS: Final[tuple[Project, ...]] = (
    *(Project(id_, name, _FOUNDED_S + n * _DAY_S) for n, (id_, name) in enumerate(PROJECT_NAMES.items())),
    Project(ARCHIVED_PROJECT_ID, "Pilot", _FOUNDED_S + 3 * _DAY_S, _FOUNDED_S + 200 * _DAY_S),
)
PEOPLE: Final[tuple[Person, ...]] = (
    Person(_ANA, "Ana", USER_EMAILS[_ANA], "owner", _FOUNDED_S),
    Person(_BO, "Bo", USER_EMAILS[_BO], "reader", _FOUNDED_S + _DAY_S),
    Person(_CHEN, "Chen", USER_EMAILS[_CHEN], "reader", _FOUNDED_S + 2 * _DAY_S),
    Person(_SERVICE, "Service", USER_EMAILS[_SERVICE], "reader", _FOUNDED_S + 3 * _DAY_S, is_service_account=True),
)
PROJECT_KEYS: Final[tuple[ProjectKey, ...]] = (
    ProjectKey("key_sandbox_hermes", "hermes", _ASSISTANT, _ANA, "sk-proj-********rmes", _FOUNDED_S + 5 * _DAY_S),
    ProjectKey("key_sandbox_web", "web", _ASSISTANT, _SERVICE, "sk-proj-********-web", _FOUNDED_S + 6 * _DAY_S),
    ProjectKey("key_sandbox_lab", "lab", _RESEARCH, _CHEN, "sk-proj-********-lab", _FOUNDED_S + 7 * _DAY_S),
    ProjectKey("key_sandbox_night", "night", _RESEARCH, _CHEN, "sk-proj-********ight", _FOUNDED_S + 8 * _DAY_S),
    ProjectKey(
        "key_sandbox_draft",
        "draft",
        _RESEARCH,
        _ANA,
        "sk-proj-********raft",
        _FOUNDED_S + 9 * _DAY_S,
        owner_has_access=False,
        is_used=False,
    ),
    ProjectKey("key_sandbox_help", "help", _SUPPORT, _SERVICE, "sk-proj-********help", _FOUNDED_S + 10 * _DAY_S),
    ProjectKey(
        "key_sandbox_pilot",
        "pilot",
        ARCHIVED_PROJECT_ID,
        _BO,
        "sk-proj-********ilot",
        _FOUNDED_S + 11 * _DAY_S,
        is_used=False,
    ),
)
ADMIN_KEYS: Final[tuple[AdminKey, ...]] = (
    AdminKey("key_sandbox_admin", "sandbox", "sk-admin-********enai", _FOUNDED_S),
    AdminKey("key_sandbox_admin_usage", "sandbox, usage only", "sk-admin-********only", _FOUNDED_S + _DAY_S),
)


def project_name(project_id: object) -> str | None:
    """The project's name, or None for what is no project."""
    return next((project.name for project in PROJECTS if project.id == project_id), None)


def person(user_id: str) -> Person:
    """The member with this id. Raises StopIteration when there is none."""
    return next(member for member in PEOPLE if member.id == user_id)
