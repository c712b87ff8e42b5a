"""However a provider asks for patience, it is understood."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.providers.retry_after import seconds_to_wait

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"anthropic-ratelimit-requests-reset": "2026-11-21T12:01:00Z"}, 60.0),
        ({"x-ratelimit-reset": "45"}, 45.0),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 45)}, 45.0),
        ({"x-ratelimit-reset": str((int(NOW.timestamp()) + 45) * 1000)}, 45.0),
        ({"x-ratelimit-reset": "5", "x-ratelimit-reset-requests": "9s"}, 9.0),
        ({"retry-after": "3", "x-ratelimit-reset-requests": "9s"}, 3.0),
    ],
)
def test_the_wait_that_is_asked_for(headers: dict[str, str], seconds: float | None) -> None:
    got = seconds_to_wait(headers, NOW)

    assert got == (None if seconds is None else pytest.approx(seconds))


@given(st.text())
def test_no_header_fails_or_asks_for_less_than_nothing(value: str) -> None:
    assert (seconds_to_wait({"retry-after": value}, NOW) or 0) >= 0
