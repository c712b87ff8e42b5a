"""The sandbox's truth: every row and every charge of two organisations, for any stretch of time, from one seed.

In: a seed, a clock, and optionally :class:`Alterations` (what the switches do to the truth: restated days, vanished
rows, late data). Out: rows, charges and exact totals. The HTTP faces answer from here, and tests ask here what the
right answer would have been, without HTTP. Times are Unix seconds UTC, ranges half-open; money is exact Decimal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import chain
from typing import Literal, TypeVar

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.sandbox.openai_services import COMPLETIONS, VECTOR_STORES, ServiceRow, measures, service_hour
from usage_pipeline.sandbox.organisations import PROJECT_NAMES, WORKSPACE_RESEARCH
from usage_pipeline.sandbox.prices import (
    WEB_SEARCH_LINE_ITEM,
    AnthropicCharge,
    OpenAiCharge,
    anthropic_charges,
    code_execution_charge,
    openai_charges,
)
from usage_pipeline.sandbox.service_prices import service_charge
from usage_pipeline.sandbox.traffic import (
    DAY_SECONDS,
    HOUR_SECONDS,
    AnthropicRow,
    OpenAiRow,
    anthropic_hour,
    noise,
    openai_hour,
    scaled,
)

ProviderName = Literal["openai", "anthropic"]
Row = TypeVar("Row", OpenAiRow, AnthropicRow, ServiceRow)

_CODE_EXECUTION_HOUR = 15
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Vanish:
    """Rows of one UTC day that the provider no longer reports; every selector that is given must match.

    ``user_id`` is Anthropic's ``account_id`` there.
    """

    day: date
    provider: ProviderName | None = None
    model: str | None = None
    user_id: str | None = None
    api_key_id: str | None = None

    def hides(self, row: OpenAiRow | AnthropicRow | ServiceRow) -> bool:
        """Whether this row is gone."""
        is_openai = not isinstance(row, AnthropicRow)
        user_id = row.stream.account_id if isinstance(row, AnthropicRow) else row.stream.user_id
        return (
            _day_start_s(self.day) == row.at_s - row.at_s % DAY_SECONDS
            and self.provider in (None, "openai" if is_openai else "anthropic")
            and self.model in (None, row.stream.model)
            and self.user_id in (None, user_id)
            and self.api_key_id in (None, row.stream.api_key_id)
        )


@dataclass(frozen=True, slots=True)
class Alterations:
    """What a provider later changed about the truth.

    ``restate`` maps a UTC day (``2026-11-03``, or ``openai:2026-11-03`` for one provider) to the factor on its token
    counts and its services' amounts. ``late_minutes`` hides rows that are younger than that.
    """

    restate: Mapping[str, Decimal] = field(default_factory=dict)
    vanish: tuple[Vanish, ...] = ()
    late_minutes: int = 0


UNALTERED = Alterations()


@dataclass(frozen=True, slots=True)
class TokenTotals:
    """Exact tokens in disjoint piles. ``requests`` and ``web_searches`` are counts; Anthropic reports no requests."""

    uncached_input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    requests: int = 0
    web_searches: int = 0

    @property
    def input_total(self) -> int:
        """All input tokens: uncached, read from and written to the cache."""
        return self.uncached_input + self.cache_read + self.cache_write

    def __add__(self, other: TokenTotals) -> TokenTotals:
        return TokenTotals(
            self.uncached_input + other.uncached_input,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
            self.output + other.output,
            self.requests + other.requests,
            self.web_searches + other.web_searches,
        )


class World:
    """Everything that happened, as a pure function of ``seed``; ``now`` decides how much of it has happened yet.

    ``now`` is a fixed aware datetime or a function that returns one.
    Raises InvalidInputError ``sandbox_clock_naive`` when a time has no zone.
    """

    def __init__(self, seed: int, now: datetime | Callable[[], datetime]) -> None:
        self.seed = seed
        self._now = now
        self._openai_hours: dict[int, tuple[OpenAiRow, ...]] = {}
        self._anthropic_hours: dict[int, tuple[AnthropicRow, ...]] = {}
        self._service_hours: dict[int, tuple[ServiceRow, ...]] = {}
        self.now()

    def now(self) -> datetime:
        """The sandbox's present, UTC."""
        at = self._now() if callable(self._now) else self._now
        if at.tzinfo is None:
            raise InvalidInputError(
                "sandbox_clock_naive", "the clock has no time zone", where="World(now=)", remedy="Pass an aware time."
            )
        return at.astimezone(UTC)

    def openai_rows(self, start_s: int, end_s: int, alterations: Alterations = UNALTERED) -> Iterator[OpenAiRow]:
        """Rows whose minute lies in [start_s, end_s), oldest hour first, as far as they are visible now."""
        return self._visible("openai", openai_hour, self._openai_hours, start_s, end_s, alterations)

    def anthropic_rows(self, start_s: int, end_s: int, alterations: Alterations = UNALTERED) -> Iterator[AnthropicRow]:
        """As :meth:`openai_rows`, for Anthropic."""
        return self._visible("anthropic", anthropic_hour, self._anthropic_hours, start_s, end_s, alterations)

    def service_rows(self, start_s: int, end_s: int, alterations: Alterations = UNALTERED) -> Iterator[ServiceRow]:
        """As :meth:`openai_rows`, for OpenAI's services beside completions, all of them together."""
        return self._visible("openai", service_hour, self._service_hours, start_s, end_s, alterations)

    def stored_bytes(self, start_s: int, end_s: int, alterations: Alterations = UNALTERED) -> dict[str, int]:
        """The bytes in vector stores by project, as they lie at the end of [start_s, end_s) or just now."""
        end_s = min(end_s, self._horizon_s(alterations))
        if end_s <= start_s:
            return {}
        last_hour_s = (end_s - 1) - (end_s - 1) % HOUR_SECONDS
        rows = self.service_rows(last_hour_s, end_s, alterations)
        return {row.stream.project_id: row.counts.amount for row in rows if row.stream.service == VECTOR_STORES}

    def openai_charges(self, start_s: int, end_s: int, alterations: Alterations = UNALTERED) -> Iterator[OpenAiCharge]:
        """The bill lines in [start_s, end_s), US dollars, with a line of nothing on some days."""
        rows = self.openai_rows(start_s, end_s, alterations)
        services = map(service_charge, self.service_rows(start_s, end_s, alterations))
        return chain(
            chain.from_iterable(map(openai_charges, rows)),
            (charge for charge in services if charge is not None),
            self._zero_lines(start_s, end_s, alterations),
        )

    def anthropic_charges(
        self, start_s: int, end_s: int, alterations: Alterations = UNALTERED
    ) -> Iterator[AnthropicCharge]:
        """The bill lines in [start_s, end_s), US cents, with code execution that no usage row shows."""
        rows = self.anthropic_rows(start_s, end_s, alterations)
        return chain(chain.from_iterable(map(anthropic_charges, rows)), self._code_execution(start_s, end_s))

    def token_totals(
        self, provider: ProviderName, day: date, alterations: Alterations = UNALTERED
    ) -> dict[str, TokenTotals]:
        """The exact tokens of one UTC day by model."""
        start_s = _day_start_s(day)
        totals: dict[str, TokenTotals] = {}
        rows: Iterator[OpenAiRow | AnthropicRow] = (
            self.openai_rows(start_s, start_s + DAY_SECONDS, alterations)
            if provider == "openai"
            else self.anthropic_rows(start_s, start_s + DAY_SECONDS, alterations)
        )
        for row in rows:
            totals[row.stream.model] = totals.get(row.stream.model, TokenTotals()) + row_tokens(row)
        return totals

    def openai_measures(
        self, endpoint: str, day: date, alterations: Alterations = UNALTERED
    ) -> dict[str | None, Counter[str]]:
        """The exact measures of one usage endpoint and UTC day by model, under the API's names; None is no model.

        ``endpoint`` is the last part of its path. For ``vector_stores`` the level at the day's end, all projects
        together.
        """
        start_s = _day_start_s(day)
        end_s = start_s + DAY_SECONDS
        totals: dict[str | None, Counter[str]] = {}
        if endpoint == COMPLETIONS:
            for model, tokens in self.token_totals("openai", day, alterations).items():
                totals[model] = Counter(
                    input_tokens=tokens.input_total, output_tokens=tokens.output, num_model_requests=tokens.requests
                )
        elif endpoint == VECTOR_STORES:
            stored = self.stored_bytes(start_s, end_s, alterations)
            return {None: Counter(usage_bytes=sum(stored.values()))} if stored else {}
        for row in self.service_rows(start_s, end_s, alterations):
            if row.stream.service == endpoint:
                totals.setdefault(row.stream.model, Counter()).update(measures(endpoint, row.counts))
        return totals

    def bill_by_model_usd(
        self, provider: ProviderName, day: date, alterations: Alterations = UNALTERED
    ) -> dict[str | None, Decimal]:
        """The exact bill of one UTC day in US dollars by model; None holds what belongs to no model."""
        start_s = _day_start_s(day)
        bill: dict[str | None, Decimal] = {}
        if provider == "openai":
            for charge in self.openai_charges(start_s, start_s + DAY_SECONDS, alterations):
                model = charge.model or None
                bill[model] = bill.get(model, Decimal(0)) + charge.amount_usd
        else:
            for line in self.anthropic_charges(start_s, start_s + DAY_SECONDS, alterations):
                bill[line.model] = bill.get(line.model, Decimal(0)) + line.amount_cents / 100
        return bill

    def bill_usd(self, provider: ProviderName, day: date, alterations: Alterations = UNALTERED) -> Decimal:
        """The exact bill of one UTC day in US dollars."""
        return sum(self.bill_by_model_usd(provider, day, alterations).values(), Decimal(0))

    def _visible(
        self,
        provider: ProviderName,
        generate: Callable[[int, int], tuple[Row, ...]],
        hours: dict[int, tuple[Row, ...]],
        start_s: int,
        end_s: int,
        alterations: Alterations,
    ) -> Iterator[Row]:
        end_s = min(end_s, self._horizon_s(alterations))
        for hour_s in range(start_s - start_s % HOUR_SECONDS, end_s, HOUR_SECONDS):
            if hour_s not in hours:
                hours[hour_s] = generate(self.seed, hour_s)
            day = datetime.fromtimestamp(hour_s, UTC).date().isoformat()
            factor = alterations.restate.get(f"{provider}:{day}", alterations.restate.get(day))
            for row in hours[hour_s]:
                if not start_s <= row.at_s < end_s or any(gone.hides(row) for gone in alterations.vanish):
                    continue
                yield row if factor is None else replace(row, counts=scaled(row.counts, factor))

    def _horizon_s(self, alterations: Alterations) -> int:
        """The first second that is not yet visible."""
        return int(self.now().timestamp()) - 60 * alterations.late_minutes

    def _zero_lines(self, start_s: int, end_s: int, alterations: Alterations) -> Iterator[OpenAiCharge]:
        for day_s in range(start_s - start_s % DAY_SECONDS, min(end_s, self._horizon_s(alterations)), DAY_SECONDS):
            for project_id in PROJECT_NAMES:
                if noise(self.seed, "zero", day_s, project_id) % 4 == 0:
                    row = next((r for r in self.openai_rows(day_s, end_s) if r.stream.project_id == project_id), None)
                    if row is not None and start_s <= row.at_s < day_s + DAY_SECONDS:
                        yield _zero_charge(row)

    def _code_execution(self, start_s: int, end_s: int) -> Iterator[AnthropicCharge]:
        for day_s in range(start_s - start_s % DAY_SECONDS, end_s, DAY_SECONDS):
            at_s = day_s + _CODE_EXECUTION_HOUR * HOUR_SECONDS
            on_working_day = datetime.fromtimestamp(day_s, UTC).weekday() < _SATURDAY
            if on_working_day and start_s <= at_s < min(end_s, self._horizon_s(UNALTERED)):
                yield code_execution_charge(at_s, WORKSPACE_RESEARCH, 1 + noise(self.seed, "code", day_s) % 9)


def row_tokens(row: OpenAiRow | AnthropicRow) -> TokenTotals:
    """A row's tokens in the piles that both providers share."""
    if isinstance(row, OpenAiRow):
        c = row.counts
        return TokenTotals(
            uncached_input=c.text_in + c.image_in + c.audio_in,
            cache_read=c.cached_text_in + c.cached_image_in + c.cached_audio_in,
            cache_write=c.cache_write_in,
            output=c.text_out + c.audio_out,
            requests=c.requests,
        )
    a = row.counts
    return TokenTotals(a.uncached_in, a.cache_read_in, a.cache_5m_in + a.cache_1h_in, a.out, a.requests, a.web_searches)


def _zero_charge(row: OpenAiRow) -> OpenAiCharge:
    stream = row.stream
    return OpenAiCharge(
        row.at_s,
        stream.project_id,
        stream.api_key_id,
        stream.user_id,
        stream.api_source,
        WEB_SEARCH_LINE_ITEM,
        0,
        Decimal(0),
        "",
        "calls",
    )


def _day_start_s(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
