"""Budgets as a person writes them: what they are of, dollars, percents; checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from usage_pipeline.budgets.budget import WORDS, Budget, Scope
from usage_pipeline.cli.days import DayRange
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.reconcile.aliases import canonical_model

if TYPE_CHECKING:
    from sqlalchemy import Connection

_AMOUNT: Final = re.compile(r"\d{1,13}(?:\.\d{1,9})?", re.ASCII)
_PERCENT: Final = re.compile(r"(\d{1,4}(?:\.\d{1,4})?) ?%?", re.ASCII)
_SHOWN_CHARACTERS_MAX: Final = 40
_IDS_SHOWN_MAX: Final = 5


def read_scope(written: Mapping[str, str | None]) -> Scope:
    """What a budget is of: the one option that was given, or everything.

    Raises InvalidInputError ``budget_unclear``.
    """
    given = [(kind, value.strip()) for kind, value in written.items() if value is not None]
    if len(given) > 1:
        raise InvalidInputError(
            "budget_unclear",
            f"it is of one thing, and {' and '.join(_option(kind) for kind, _ in given)} are given",
            where="usage-pipeline budgets set",
            remedy="Give one of them, or none for everything.",
        )
    if not given:
        return Scope("workspace", None)
    kind, value = given[0]
    return Scope(kind, canonical_model(value) if kind == "model" else value)


def budget_of(
    workspace: str | None,
    scope: Scope,
    every: str,
    amount: str,
    warning: str,
    exceeded: str,
    days: DayRange,
    *,
    endless: bool,
) -> Budget:
    """The budget that a person described; its number is 0 until it is stored.

    Raises InvalidInputError: ``amount_malformed``, ``percent_malformed``, ``budget_malformed``.
    """
    return Budget(
        budget_id=0,
        workspace=workspace,
        scope=scope,
        period=every,
        amount_usd=_amount(amount),
        effective_from=days.first_day,
        effective_to=None if endless else days.end_day,
        warning_percent=_percent(warning, "--warning"),
        exceeded_percent=_percent(exceeded, "--exceeded"),
    )


def known_scope(connection: Connection, budget: Budget) -> tuple[Budget, str]:
    """The budget with the id of what was given by its name, and words where nothing of the kind is known yet.

    Raises InvalidInputError ``name_ambiguous``.
    """
    from usage_pipeline.ledger.dimension_names import list_names
    from usage_pipeline.ledger.showback_rules import list_rules

    kind, value = budget.scope
    if kind in {"project", "api_key"}:
        named = [one.named for one in list_names(connection, budget.workspace) if one.named.dimension == f"{kind}_id"]
        if any(one.id == value for one in named):
            return budget, ""
        ids = sorted({one.id for one in named if one.name == value})
        if len(ids) > 1:
            raise InvalidInputError(
                "name_ambiguous",
                f"{len(ids)} have this name: {', '.join(ids[:_IDS_SHOWN_MAX])}{' …' if ids[_IDS_SHOWN_MAX:] else ''}",
                where=_option(kind),
                remedy="Give the id of one.",
            )
        if ids:
            return replace(budget, scope=Scope(kind, ids[0])), ""
        return (
            budget,
            f"no {WORDS[kind]} has this id or name as far as names are known; it is taken as an id",
        )
    if kind in {"cost_center", "team"}:
        rules = [one.rule.belonging for one in list_rules(connection) if not one.taken_back]
        if value != "unassigned" and all(getattr(one, kind) != value for one in rules):
            return budget, f"no rule gives this {WORDS[kind]} yet; see: usage-pipeline showback list"
    return budget, ""


def _amount(written: str) -> Decimal:
    if _AMOUNT.fullmatch(written.strip()) is None:
        raise InvalidInputError(
            "amount_malformed",
            f"{_shown(written)} is no amount",
            where="--amount",
            remedy="Write US dollars without separators, for example 500 or 49.90.",
        )
    return Decimal(written.strip())


def _percent(written: str, option: str) -> Decimal:
    found = _PERCENT.fullmatch(written.strip())
    if found is None:
        raise InvalidInputError(
            "percent_malformed", f"{_shown(written)} is no percentage", where=option, remedy="Write it like 80%."
        )
    return Decimal(found[1])


def _option(kind: str) -> str:
    return f"--{kind.replace('_', '-')}"


def _shown(written: str) -> str:
    return repr(written) if len(written) <= _SHOWN_CHARACTERS_MAX else "the value"
