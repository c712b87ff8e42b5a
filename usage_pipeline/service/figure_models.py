"""What the usage API answers about figures and the rows behind them: the models of its description, with examples.

Whole numbers are exact, whatever their size: readers that make them doubles lose digits above 2**53, so money is given
as an exact decimal text too.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from usage_pipeline.service.openapi import Json

_COUNT: Final = "A whole number, exact; null where no source tells it."


class Figures(BaseModel):
    """Counts by measure. Token classes are disjoint; null is "nobody tells it", never 0."""

    tokens: dict[str, int | None] = Field(description="Tokens by class; their sum is every token once.")
    reasoning: int | None = Field(description=f"A part of output. {_COUNT}")
    requests: int | None = Field(description=_COUNT)
    other: dict[str, int] = Field(description="Measures in units of their own, where any is told.")


class Cost(BaseModel):
    """An amount of money."""

    nano_usd: int | None = Field(description="Billionths of a US dollar, rounded once, half even.")
    usd: str | None = Field(description="US dollars, exact.")
    basis: str | None = Field(description="What it rests on; several bases are joined by semicolons.")


class ComputedCost(Cost):
    """An amount at list prices."""

    version: str | None = Field(description="The versions of the prices behind it.")


class Costs(BaseModel):
    """The costs of a group; billed and computed are null where the group is made of single rows."""

    counted: Cost | None
    billed: Cost | None
    computed: ComputedCost | None


class Group(BaseModel):
    """A group: beside these, one text or null for each dimension of by."""

    model_config = ConfigDict(extra="allow")
    names: dict[str, str] = Field(description="What the group's ids are called, by dimension.")
    provisional: bool = Field(description="Whether any of its figures may still change by itself.")
    counted: Figures | None
    explained: Figures | None = Field(description="What Hermes explains of it; null where a group cannot tell.")
    unattributed: Figures | None = Field(description="What nobody explains; null where a group cannot tell.")
    excess: Figures | None = Field(description="What Hermes says beyond the provider, never counted.")
    stand_in: Figures | None = Field(description="What Hermes' figure stands in for.")
    cost: Costs


_FIGURES: Final[Json] = {
    "tokens": {
        "uncached_input": 1200000,
        "cache_read": 5000000,
        "cache_write_5m": None,
        "cache_write_30m": None,
        "cache_write_1h": None,
        "cache_write_12h": None,
        "cache_write_unsplit": None,
        "output": 90000,
    },
    "reasoning": 12000,
    "requests": 310,
    "other": {},
}
_COSTS: Final[Json] = {
    "counted": {"nano_usd": 3025000000, "usd": "3.025", "basis": "billed"},
    "billed": {"nano_usd": 3025000000, "usd": "3.025", "basis": "billed"},
    "computed": {"nano_usd": 3020000000, "usd": "3.02", "basis": "list", "version": "genai-prices 0.2.3"},
}
_GROUP: Final[Json] = {
    "names": {},
    "provisional": False,
    "counted": _FIGURES,
    "explained": None,
    "unattributed": None,
    "excess": None,
    "stand_in": None,
    "cost": _COSTS,
}


class Usage(BaseModel):
    """What counts in a range of days."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": "2026-03-01",
                    "to": "2026-03-31",
                    "workspace": "acme",
                    "by": ["model"],
                    "rows": [{"model": "gpt-5", **_GROUP}],
                    "rows_left_out": 0,
                    "rest": None,
                    "totals": _GROUP,
                    "notes": ["usage_bytes is a level and no sum of rows: it is in no cut"],
                }
            ]
        }
    )
    first: str = Field(alias="from", description="The first UTC day.")
    to: str = Field(description="The last UTC day, itself included.")
    as_of: str | None = Field(default=None, description="The instant that was asked about, if one was.")
    workspace: str
    by: list[str] = Field(description="The dimensions of the rows.")
    rows: list[Group]
    rows_left_out: int = Field(description="Groups beyond the limit.")
    rest: Group | None = Field(description="The sum of the groups beyond the limit.")
    totals: Group = Field(description="The sum of all groups.")
    notes: list[str]


class Event(BaseModel):
    """A stored row: where it is from, what was decided about it, its dimensions and its measures."""

    model_config = ConfigDict(extra="allow")
    date: str
    workspace: str
    feed: str
    source: str
    endpoint: str
    provider: str | None
    account: str | None
    family: str | None
    route: str | None
    state: str = Field(description="Whether it counts, and if not why.")
    event_id: str
    window_start: str
    model: str | None = Field(description="As it was reported.")
    pull_id: int | None = Field(description="The pull that told it, for /api/raw/{pull}/{page}.")
    batch_id: int | None = Field(description="The Hermes batch that told it.")


_EVENT: Final[Json] = {
    "date": "2026-03-10",
    "workspace": "acme",
    "feed": "acme.openai.main",
    "source": "provider_api_key",
    "endpoint": "completions",
    "provider": "openai",
    "account": "org-acme",
    "family": "text",
    "route": "account",
    "state": "counted",
    "event_id": "69af5c90-0f00-4000-8000-000000000001",
    "window_start": "2026-03-10T09:00:00Z",
    "model": "gpt-5-2025-08-07",
    "output": 700,
    "project_id": "proj_a",
    "pull_id": 12,
    "batch_id": None,
}


class Events(BaseModel):
    """A page of rows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"from": "2026-03-10", "to": "2026-03-10", "workspace": "acme", "rows": [_EVENT], "next_cursor": None}
            ]
        }
    )
    first: str = Field(alias="from")
    to: str
    workspace: str
    rows: list[Event]
    next_cursor: str | None = Field(description="Where the next page begins; null after the last one.")
