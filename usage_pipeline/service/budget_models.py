"""What the usage API answers about budgets: the models of its description, with an example."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from usage_pipeline.budgets.budget import KINDS, PERIODS
from usage_pipeline.service.openapi import Json

_STATES: Final = ("within", "warning", "exceeded")


class Money(BaseModel):
    """An amount of money."""

    nano_usd: int = Field(description="Billionths of a US dollar, rounded once, half even.")
    usd: str = Field(description="US dollars, exact.")


class Budget(BaseModel):
    """A budget in one of its periods. Percents are decimal texts, of the budget."""

    id: int
    workspace: str
    kind: str = Field(description="What it is of.", json_schema_extra={"enum": list(KINDS)})
    value: str | None = Field(description="The value of that dimension; null for the whole workspace.")
    name: str | None = Field(description="What an id is called.")
    every: str = Field(json_schema_extra={"enum": list(PERIODS)})
    period: str = Field(description="The day, ISO week or month.")
    first: str = Field(alias="from", description="The period's first UTC day.")
    to: str = Field(description="The period's last UTC day, itself included.")
    budget: Money
    spent: Money = Field(description="What counts in the period so far.")
    provisional: Money = Field(description="The part of it that may still change by itself.")
    percent: str
    forecast: Money | None = Field(description="What the period may come to; null where nothing tells.")
    forecast_percent: str | None
    warning_percent: str
    exceeded_percent: str
    state: str = Field(json_schema_extra={"enum": list(_STATES)})
    warning_on: str | None = Field(description="The UTC day on which the warning part was reached.")
    exceeded_on: str | None = Field(description="The UTC day on which the budget was exceeded.")


_EXAMPLE: Final[Json] = {
    "on": "2026-11-20",
    "workspace": "acme",
    "budgets": [
        {
            "id": 3,
            "workspace": "acme",
            "kind": "project",
            "value": "proj_web",
            "name": "Website",
            "every": "month",
            "period": "2026-11",
            "from": "2026-11-01",
            "to": "2026-11-30",
            "budget": {"nano_usd": 380000000000, "usd": "380.00"},
            "spent": {"nano_usd": 318750000000, "usd": "318.75"},
            "provisional": {"nano_usd": 78750000000, "usd": "78.75"},
            "percent": "83.88",
            "forecast": {"nano_usd": 527142857143, "usd": "527.142857143"},
            "forecast_percent": "138.72",
            "warning_percent": "80",
            "exceeded_percent": "100",
            "state": "warning",
            "warning_on": "2026-11-19",
            "exceeded_on": None,
        }
    ],
}


class Budgets(BaseModel):
    """The budgets that hold on a day, each in the period of that day."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    on: str
    workspace: str
    budgets: list[Budget]
