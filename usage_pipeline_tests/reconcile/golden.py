"""The golden month: its inputs played through the pipeline, and reports brought into the shape of its golden files.

Belongs here: reading ``fixtures/golden/month``, playing pulls and batches at their instants, and comparing lines.
No figure is worked out here but sums of rows. Ranges of days in the files include their last day.
"""

from __future__ import annotations

import csv
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline.measures import TOKEN_CLASSES
from usage_pipeline.pricing.overrides import PriceOverride
from usage_pipeline.pricing.price_book import PriceBook
from usage_pipeline.pricing.rates import Rates, exact_arithmetic
from usage_pipeline.providers.anthropic import COST_REPORT, MESSAGES, Anthropic
from usage_pipeline.providers.openai import COMPLETIONS
from usage_pipeline.providers.openai_endpoints import COSTS
from usage_pipeline_tests.scripted.account import Bill, Use
from usage_pipeline_tests.scripted.narrowed_openai import NarrowedOpenAI
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, utc

MONTH = Path(__file__).parents[2] / "fixtures" / "golden" / "month"

Row = dict[str, str]
"""A line of a golden file, or of a report in its shape: texts by column, "" for null."""

MEASURES = (*TOKEN_CLASSES, "requests")
FIGURES = ("counted", "explained", "unattributed", "excess", "stand_in")
CELL = ("day", "provider", "route", "family", "model", "measure")
FINDING = ("day", "code", "provider", "model", "endpoint", "measure")
TOTAL = ("of", "provider", "route", "model", "measure")
_SHARES = FIGURES[1:]
_TOLD_OF_A_FINDING = ("figure_provider", "figure_hermes", "difference", "first_seen", "explanation")


class UsageAndBillOfAnthropic(Anthropic):
    """Anthropic's two reports that the month is about."""

    endpoints = (MESSAGES, COST_REPORT)


SPEAKS = (NarrowedOpenAI(COMPLETIONS, COSTS), UsageAndBillOfAnthropic())
"""The providers with the endpoints that the month is about: usage of text, and the bill."""


def read(name: str) -> list[Row]:
    """The lines of a CSV file of the month."""
    with (MONTH / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class Settings:
    """What ``month.toml`` says; ``runs`` are instants and half-open ranges of days."""

    keys: Mapping[str, Mapping[str, str]]
    feeds: Mapping[str, Mapping[str, int]]
    runs: tuple[tuple[datetime, date, date], ...]
    first_day: date
    end_day: date
    report_at: datetime

    @classmethod
    def read(cls) -> Settings:
        told = tomllib.loads((MONTH / "month.toml").read_text())
        runs = tuple((run["at"], run["first_day"], _after(run["last_day"])) for run in told["runs"])
        return cls(told["keys"], told["feeds"], runs, told["first_day"], _after(told["last_day"]), told["report_at"])


@dataclass(frozen=True)
class Event:
    """Something that happens at an instant: a pull, a batch, or a run of the pipeline."""

    at: datetime
    happen: Callable[[], object]


class GoldenMonth:
    """The month's inputs, registered in a scenario and ready to be played."""

    def __init__(self, scenario: Scenario) -> None:
        self.settings = Settings.read()
        self.scenario = scenario
        scenario.at(utc(self.settings.first_day - timedelta(days=1)))
        scenario.runtime = replace(scenario.runtime, prices=PriceBook(_overrides()))
        self._keys = {}
        for slug, key in self.settings.keys.items():
            name, account = slug.rsplit(".", 1)[-1], key["account"]
            self._keys[slug] = scenario.register(key["provider"], name, organization=account, grain=key["grain"])
            self._keys[slug].account.organisation = account
        self._feeds = {slug: scenario.hermes(slug.rsplit(".", 1)[-1]) for slug in self.settings.feeds}
        self._uses, self._bills, self._calls = (
            _by(read(name), column)
            for name, column in (("provider_rows", "pull"), ("bills", "pull"), ("hermes_rows", "batch"))
        )

    def arrivals(self) -> list[Event]:
        """Every pull and every batch, in the order of the files."""
        pulls = [
            Event(_instant(pull["started_at"]), lambda pull=pull: self._pull(pull)) for pull in read("provider_pulls")
        ]
        batches = [
            Event(_instant(batch["generated_at"]), lambda batch=batch: self._send(batch))
            for batch in read("hermes_batches")
        ]
        return [*pulls, *batches]

    def runs(self) -> list[Event]:
        """Every run of the pipeline over its days."""
        return [
            Event(at, lambda first=first, end=end: self.scenario.settle(*_days(first, end)))
            for at, first, end in self.settings.runs
        ]

    def play(self, events: Iterable[Event]) -> None:
        """Let the events happen in this order, each at its own instant."""
        for event in events:
            self.scenario.at(event.at)
            event.happen()

    def run_whole(self) -> None:
        """Run the pipeline once, when the report is read, over the whole month."""
        self.scenario.at(self.settings.report_at)
        self.scenario.settle(*_days(self.settings.first_day, self.settings.end_day))

    def report(self, as_of: datetime | None = None) -> Json:
        """The month's report when it is read, or as it stood at an instant."""
        self.scenario.at(self.settings.report_at)
        return self.scenario.report(self.settings.first_day, self.settings.end_day, as_of=as_of)

    def _pull(self, pull: Row) -> None:
        """Pull the range; the account answers what the files say that it answered then."""
        key = self._keys[pull["key"]]
        key.account.uses = [use for row in self._uses[pull["pull"]] for use in _uses(row)]
        key.account.bills = [bill for row in self._bills[pull["pull"]] for bill in _bills(row)]
        first, end = date.fromisoformat(pull["first_day"]), _after(date.fromisoformat(pull["last_day"]))
        if pull["answer"] == "complete":
            self.scenario.pull(key, first, end)
            return
        for endpoint in self.scenario.runtime.providers[key.key.provider].endpoints:
            key.account.refuse(endpoint.name, int(pull["answer"]))
        with pytest.raises(UsagePipelineError):
            self.scenario.pull(key, first, end)
        key.account.heal()

    def _send(self, batch: Row) -> None:
        at = _instant(batch["generated_at"])
        calls = [call for row in self._calls[batch["batch"]] for call in _calls(row)]
        if self.settings.feeds[batch["feed"]]["version"] == 2:
            payload = v2_payload(at, calls)
        else:
            first, last = (date.fromisoformat(batch[name]) for name in ("first_covered", "last_covered"))
            payload = v3_payload(at, calls, first, _after(last))
        self.scenario.send(self._feeds[batch["feed"]], payload)


def cells(report: Json) -> list[Row]:
    """A report's rows in the shape of ``reconciled.csv``: a line for each measure that has a figure, one for USD."""
    lines = []
    for row in report["rows"]:
        cell = {
            "day": row["date"],
            **{name: row[name] for name in ("provider", "route", "family", "model", "decision")},
            "provisional": str(row["provisional"]).lower(),
        }
        for measure in MEASURES:
            figures = {name: _figure(row[name], measure) for name in FIGURES}
            if any(figures.values()):
                lower = measure in row["lower_bound"]
                lines.append(cell | _written(figures, lower) | {"measure": measure, "basis": "lower bound" * lower})
        cost = row["cost"]["counted"]
        usd = dict.fromkeys(_SHARES, "") | {"counted": cost["usd"] or ""}
        lines.append(cell | usd | {"measure": "usd", "basis": cost["basis"] or ""})
    return lines


def totals(lines: Sequence[Row], *, by: Sequence[str] = ("model", "provider", "all")) -> list[Row]:
    """Lines of ``reconciled.csv`` added up, in the shape of ``totals.csv``."""
    columns = {"model": ("provider", "route", "model"), "provider": ("provider",), "all": ()}
    sums: dict[tuple[str, ...], dict[str, Decimal | None]] = defaultdict(lambda: dict.fromkeys(FIGURES))
    with exact_arithmetic():
        for line in lines:
            for of in by:
                place = {name: line[name] if name in columns[of] else "" for name in ("provider", "route", "model")}
                summed = sums[(of, *place.values(), line["measure"])]
                for name in FIGURES:
                    if line[name]:
                        summed[name] = (summed[name] or Decimal(0)) + Decimal(line[name])
    return [
        dict(zip(TOTAL, place, strict=True))
        | {name: "" if figure is None else f"{figure:f}" for name, figure in summed.items()}
        for place, summed in sums.items()
        if place[-1] == "usd" or any(summed.values())
    ]


def grand_totals(report: Json) -> list[Row]:
    """The report's own totals, in the shape of the lines ``all`` of ``totals.csv``."""
    told = report["totals"]
    place = {"of": "all", "provider": "", "route": "", "model": ""}
    lines = []
    for measure in MEASURES:
        figures = {name: _figure(told[name], measure) for name in FIGURES}
        if any(figures.values()):
            lines.append(place | _written(figures, False) | {"measure": measure})
    usd = dict.fromkeys(_SHARES, "") | {"counted": told["cost"]["counted"]["usd"] or ""}
    return [*lines, place | usd | {"measure": "usd"}]


def findings(report: Json) -> list[Row]:
    """A report's findings in the shape of ``findings.csv``, with the whole explanation."""
    return [
        {name: one[name] or "" for name in (*FINDING[1:], *_TOLD_OF_A_FINDING)} | {"day": one["date"]}
        for one in report["findings"]
    ]


def check(golden: Sequence[Row], got: Sequence[Row], key: Sequence[str]) -> None:
    """Fail with a readable line for each difference. ``key`` are the columns that name a line."""
    lines = _differences(golden, got, key)
    assert not lines, "\n".join([f"{len(lines)} differences", *lines])


def _differences(golden: Sequence[Row], got: Sequence[Row], key: Sequence[str]) -> list[str]:
    wanted, found = ({_place(row, key): row for row in rows} for rows in (golden, got))
    if (len(wanted), len(found)) != (len(golden), len(got)):
        return ["a line stands twice"]
    lines = [f"{place}: the golden file has it, the report has not" for place in wanted.keys() - found.keys()]
    lines += [
        f"{place}: only the report has it: "
        + ", ".join(f"{name} {value}" for name, value in found[place].items() if value)
        for place in found.keys() - wanted.keys()
    ]
    lines += [
        f"{place}: {name} is {found[place][name] or 'null'}, the golden file says {value or 'null'}"
        for place in wanted.keys() & found.keys()
        for name, value in wanted[place].items()
        if not _same(value, found[place][name])
    ]
    return sorted(lines)


def _place(row: Row, key: Sequence[str]) -> str:
    return " ".join(row[name] for name in key if row[name])


def _same(one: str, other: str) -> bool:
    """Whether two texts are the same figure, or the same words."""
    return one == other or (_is_number(one) and _is_number(other) and Decimal(one) == Decimal(other))


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal()


def _figure(group: Json, measure: str) -> int | None:
    figure = group["requests"] if measure == "requests" else group["tokens"][measure]
    assert figure is None or type(figure) is int
    return figure


def _written(figures: Mapping[str, int | None], lower_bound: bool) -> Row:
    """Figures as texts. A share without a part is 0, but for a lower bound, which has no shares."""
    shares = {name: "" if lower_bound and figures[name] is None else str(figures[name] or 0) for name in _SHARES}
    return {"counted": "" if figures["counted"] is None else str(figures["counted"]), **shares}


def _overrides() -> Iterator[PriceOverride]:
    for number, row in enumerate(read("prices"), start=1):
        rates = {name: Decimal(row[name]) for name in TOKEN_CLASSES if row.get(name)}
        yield PriceOverride(number, row["provider"], row["model"], Rates(**rates), date.fromisoformat(row["from_day"]))


def _uses(row: Row) -> Iterator[Use]:
    measures = {name: int(row[name] or 0) for name in _USE_MEASURES}
    for day in _days_of(row):
        at = utc(day, int(row["hour"]))
        yield Use(at, row["model"], project=row["project"] or None, user=row["user"] or None, **measures)


def _bills(row: Row) -> Iterator[Bill]:
    for day in _days_of(row):
        told = (row[name] or None for name in ("line_item", "model", "token_type"))
        yield Bill(day, Decimal(row["usd"]), *told)


def _calls(row: Row) -> Iterator[Call]:
    measures: dict[str, Any] = {name: int(row[name] or 0) for name in _CALL_MEASURES}
    billed = {name: row[name] for name in ("billing", "billing_mode") if row[name]}
    for day in _days_of(row):
        yield Call(utc(day, int(row["hour"])), row["model"], **measures, **billed)


_USE_MEASURES = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "requests")
_CALL_MEASURES = ("uncached_input", "cache_read", "cache_write", "output", "requests")


def _by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row[column]].append(row)
    return grouped


def _days_of(row: Row) -> list[date]:
    return _days(date.fromisoformat(row["first_day"]), _after(date.fromisoformat(row["last_day"])))


def _days(first: date, end: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((end - first).days)]


def _after(day: date) -> date:
    return day + timedelta(days=1)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
