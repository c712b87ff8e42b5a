"""``GET /api/usage/events``: the stored rows behind the figures, page by page, each with what was decided about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection

from usage_pipeline.ledger.event_pages import (
    EVENT_FILTERS,
    SLICE_FILTERS,
    EventSlice,
    event_slices,
    events_of_slice,
    reported_models,
)
from usage_pipeline.reconcile.aliases import canonical_model
from usage_pipeline.reconcile.row_report import state_of_event, told_of_row
from usage_pipeline.service.money import with_nano_usd
from usage_pipeline.service.parameters import (
    CURSOR,
    FROM,
    TO,
    WORKSPACE,
    Parameter,
    cursor_of,
    limit_of,
    no_such_cursor,
)
from usage_pipeline.service.reading import Asking

ROWS_MAX: Final = 1000
_ROWS_BY_DEFAULT: Final = 100
STATES: Final = (
    "counted",
    "shadowed",
    "informational",
    "compared",
    "shown",
    "hours",
    "repositories",
    "not_reconciled_yet",
)

_MODEL: Final = "model"
_FILTERS: Final = {
    "provider": "Only of the keys of this provider.",
    "feed": "Only of this key or Hermes feed.",
    "source": "Only provider_api_key, or only hermes_plugin.",
    "endpoint": "Only this report of a provider, or this list of a Hermes batch.",
    "project": "Only this project's id.",
    "api_key": "Only this API key's id.",
    "user": "Only this user's id.",
    "service_account": "Only this service account's id.",
    "reported_model": "Only this model, as it was reported.",
    _MODEL: "Only this model, under any of the names that are reported for it.",
}

PARAMETERS: Final = (
    FROM,
    TO,
    WORKSPACE,
    *(
        Parameter(name, f"{words} Empty for what is not told. Repeatable.", {"type": "string"}, repeatable=True)
        for name, words in _FILTERS.items()
    ),
    Parameter(
        "state", "Only rows of this state. Repeatable.", {"type": "string", "enum": list(STATES)}, repeatable=True
    ),
    CURSOR,
    limit_of(ROWS_MAX, _ROWS_BY_DEFAULT),
)


def tell_events(connection: Connection, asking: Asking) -> dict[str, Any]:
    """A page of rows, by day, feed, endpoint and key. Raises :class:`InvalidInputError` for what cannot be asked."""
    parameters = asking.parameters
    first_day, end_day = parameters.days()
    most = parameters.number("limit", most=ROWS_MAX, default=_ROWS_BY_DEFAULT)
    for state in parameters.texts("state"):
        parameters.check(state, STATES, "state")
    page = _Page(connection, asking, first_day, end_day)
    rows: list[dict[str, Any]] = []
    last: tuple[str, ...] | None = None
    following = None
    for slice_, event in page.events(most):
        if len(rows) == most:
            assert last is not None
            following = cursor_of(*last)
            break
        rows.append(_row(event))
        last = (*slice_.place, str(event["event_id"]))
    return {
        "from": parameters.text("from"),
        "to": parameters.text("to"),
        "workspace": asking.reader.workspace,
        "rows": rows,
        "next_cursor": following,
    }


class _Page:
    """The rows from the cursor on, read a few at a time."""

    def __init__(self, connection: Connection, asking: Asking, first_day: date, end_day: date) -> None:
        self._connection = connection
        self._states = asking.parameters.texts("state")
        given = {name: values for name in _FILTERS if (values := asking.parameters.values(name))}
        self._after, self._event_id = _place(asking)
        of_slices = {name: values for name, values in given.items() if name in SLICE_FILTERS}
        self._slices = event_slices(connection, first_day, end_day, asking.reader.workspace, of_slices, self._after)
        self._only = {name: values for name, values in given.items() if name in EVENT_FILTERS}
        self._models = given.get(_MODEL)

    def events(self, most: int) -> Iterator[tuple[EventSlice, Mapping[str, Any]]]:
        """Every row, in order."""
        for slice_ in self._slices:
            after = self._event_id if slice_.place == self._after else None
            only = self._only_of(slice_)
            while True:
                found = list(events_of_slice(self._connection, slice_, only, after, most + 1))
                for event in found:
                    after = event["event_id"]
                    if not self._states or state_of_event(event) in self._states:
                        yield slice_, event
                if len(found) <= most:
                    break

    def _only_of(self, slice_: EventSlice) -> Mapping[str, frozenset[str | None]]:
        """What is kept of a slice: models by the names that it reports."""
        if self._models is None:
            return self._only
        names = frozenset(
            name
            for name in reported_models(self._connection, slice_)
            if name in self._models or (name is not None and canonical_model(name) in self._models)
        )
        both = self._only.get("reported_model")
        return {**self._only, "reported_model": names if both is None else names & both}


def _place(asking: Asking) -> tuple[tuple[str, str, str] | None, UUID | None]:
    """Where the page begins: the slice's place, and the key after which."""
    cursor = asking.parameters.cursor(str, str, str, str)
    if cursor is None:
        return None, None
    day, feed, endpoint, event_id = cursor
    try:
        return (date.fromisoformat(day).isoformat(), feed, endpoint), UUID(event_id)
    except ValueError:
        raise no_such_cursor() from None


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    told = told_of_row(event, state_of_event(event))
    source_id = told.pop("source_id")
    of_provider = event["source"] == "provider_api_key"
    return with_nano_usd(
        {**told, "pull_id": source_id if of_provider else None, "batch_id": None if of_provider else source_id}
    )
