"""What the usage API answers about findings, coverage, bills, the workspace and who asks: models with examples."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from usage_pipeline.service.coverage import STATES


class Finding(BaseModel):
    """A finding; figures are exact decimal texts, whether tokens or US dollars."""

    model_config = ConfigDict(extra="allow")
    id: int
    code: str
    date: str
    workspace: str
    provider: str | None
    account: str | None
    route: str | None
    family: str | None
    model: str | None
    feed: str | None
    endpoint: str | None
    measure: str | None
    figure_provider: str | None
    figure_hermes: str | None
    difference: str | None
    explanation: str
    first_seen: str
    closed_at: str | None


class Findings(BaseModel):
    """A page of findings."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "2026-03-10",
                    "to": "2026-03-10",
                    "workspace": "acme",
                    "findings": [
                        {
                            "id": 7,
                            "code": "hermes_exceeds_provider",
                            "date": "2026-03-10",
                            "workspace": "acme",
                            "provider": "openai",
                            "account": None,
                            "route": "account",
                            "family": "text",
                            "model": "gpt-5",
                            "feed": None,
                            "endpoint": None,
                            "measure": "output",
                            "figure_provider": "1000",
                            "figure_hermes": "1100",
                            "difference": "100",
                            "explanation": "Hermes says 100 tokens more than the provider.",
                            "first_seen": "2026-03-14T06:00:00Z",
                            "closed_at": None,
                        }
                    ],
                    "next_cursor": None,
                }
            ]
        }
    )
    first: str = Field(alias="from")
    to: str
    workspace: str
    findings: list[Finding]
    next_cursor: str | None = Field(description="Where the next page begins; null after the last one.")


class CoverageDay(BaseModel):
    """A day of a feed."""

    date: str
    state: str = Field(
        description=" ".join(f"{name}: {words}" for name, words in STATES.items()),
        json_schema_extra={"enum": list(STATES)},
    )
    complete: bool = Field(description="Whether a complete answer of every report stands.")
    covered_until: str | None = Field(description="Up to when the source had spoken.")
    endpoints: dict[str, str] = Field(description="The state of each report; the day has the weakest.")
    errors: list[str] = Field(description="Codes with which the last attempts failed, whether or not an answer stands.")


class FeedCoverage(BaseModel):
    """A key or a Hermes feed, and its days."""

    feed: str
    source: str
    provider: str | None
    days: list[CoverageDay]


class Coverage(BaseModel):
    """Keys and Hermes feeds × days."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "2026-03-10",
                    "to": "2026-03-10",
                    "workspace": "acme",
                    "feeds": [
                        {
                            "feed": "acme.openai.main",
                            "source": "provider_api_key",
                            "provider": "openai",
                            "days": [
                                {
                                    "date": "2026-03-10",
                                    "state": "final",
                                    "complete": True,
                                    "covered_until": "2026-03-11T00:00:00Z",
                                    "endpoints": {"completions": "final"},
                                    "errors": [],
                                }
                            ],
                        }
                    ],
                }
            ]
        }
    )
    first: str = Field(alias="from")
    to: str
    workspace: str
    feeds: list[FeedCoverage]


class Bill(BaseModel):
    """An account's bill of a day beside what its usage costs; each x_usd also as x_nano_usd."""

    model_config = ConfigDict(extra="allow")
    date: str
    provider: str
    account: str
    route: str
    final: bool
    billed_usd: str | None
    billed_nano_usd: int | None
    computed_usd: str | None
    computed_nano_usd: int | None
    difference_usd: str | None
    difference_nano_usd: int | None
    agrees: bool | None
    reason: str | None


class Bills(BaseModel):
    """Bills by day and account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "2026-03-10",
                    "to": "2026-03-10",
                    "workspace": "acme",
                    "bills": [
                        {
                            "date": "2026-03-10",
                            "provider": "openai",
                            "account": "org-acme",
                            "route": "account",
                            "final": True,
                            "billed_usd": "3.025",
                            "billed_nano_usd": 3025000000,
                            "computed_usd": "3.02",
                            "computed_nano_usd": 3020000000,
                            "difference_usd": "-0.005",
                            "difference_nano_usd": -5000000,
                            "agrees": True,
                            "reason": None,
                        }
                    ],
                }
            ]
        }
    )
    first: str = Field(alias="from")
    to: str
    workspace: str
    bills: list[Bill]


class Workspace(BaseModel):
    """A workspace, and of which days anything is reconciled."""

    slug: str
    name: str
    policy: str
    demo: bool = Field(description="Whether its figures are made up.")
    created_at: str
    first_day: str | None
    last_day: str | None
    reconciled_at: str | None


class Workspaces(BaseModel):
    """The workspaces that the token may see: its own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workspaces": [
                        {
                            "slug": "acme",
                            "name": "Acme",
                            "policy": "provider_first",
                            "demo": False,
                            "created_at": "2026-03-01T08:00:00Z",
                            "first_day": "2026-03-01",
                            "last_day": "2026-03-31",
                            "reconciled_at": "2026-03-31T09:20:00Z",
                        }
                    ]
                }
            ]
        }
    )
    workspaces: list[Workspace]


class Session(BaseModel):
    """Who asks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workspace": "acme",
                    "scopes": ["findings", "usage"],
                    "token": "upr_0123456789",
                    "through": "session",
                    "ends_at": "2026-03-10T21:00:00Z",
                    "now": "2026-03-10T09:00:00Z",
                }
            ]
        }
    )
    workspace: str
    scopes: list[str]
    token: str = Field(description="The public prefix of the token.")
    through: str = Field(description="token or session.", json_schema_extra={"enum": ["token", "session"]})
    ends_at: str | None = Field(description="When it ends by itself; null for never.")
    now: str = Field(description="The service's clock.")
