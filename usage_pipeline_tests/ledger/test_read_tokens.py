"""Read tokens and sessions by themselves: what lives, for whom, and how a bucket of requests empties and fills."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.ledger.bearer_secrets import is_stored, new_secret, prefix_of
from usage_pipeline.ledger.read_token_limits import take_request
from usage_pipeline.ledger.read_tokens import (
    begin_session,
    end_session,
    issue_read_token,
    list_read_tokens,
    reader_of_session,
    reader_of_token,
)
from usage_pipeline.ledger.server import connect_engine
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline.telemetry.redaction import Redactor

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def connection(migrated_database: str) -> Iterator[sa.Connection]:
    engine = connect_engine(migrated_database)
    with engine.begin() as made:
        yield made
    engine.dispose()


def test_a_token_and_its_session_make_the_same_reader(connection: sa.Connection) -> None:
    acme = add_workspace(connection, "acme", name=None, now=NOW)
    token = issue_read_token(connection, acme, ["usage"], NOW, expires_at=NOW + 2 * HOUR)
    reader = reader_of_token(connection, token, NOW)
    assert reader is not None
    assert (reader.workspace, reader.scopes, reader.through) == ("acme", {"usage"}, "token")
    secret, ends_at = begin_session(connection, reader, NOW, 12 * HOUR)
    assert ends_at == NOW + 2 * HOUR  # never longer than its token
    of_session = reader_of_session(connection, secret, NOW)
    assert of_session is not None
    assert (of_session.workspace_id, of_session.scopes) == (reader.workspace_id, reader.scopes)
    assert (of_session.token_prefix, of_session.through) == (reader.token_prefix, "session")
    assert reader_of_token(connection, secret, NOW) is None  # one is never taken for the other
    assert reader_of_session(connection, token, NOW) is None
    assert reader_of_token(connection, token, NOW + 2 * HOUR) is None
    assert reader_of_session(connection, secret, NOW + 2 * HOUR) is None
    assert end_session(connection, secret, NOW)
    assert not end_session(connection, secret, NOW)
    assert reader_of_session(connection, secret, NOW) is None


def test_sessions_that_ended_are_swept_away_by_the_next(connection: sa.Connection) -> None:
    acme = add_workspace(connection, "acme", name=None, now=NOW)
    reader = reader_of_token(connection, issue_read_token(connection, acme, [], NOW), NOW)
    assert reader is not None
    begin_session(connection, reader, NOW, HOUR)
    begin_session(connection, reader, NOW + HOUR, HOUR)
    assert connection.execute(sa.text("SELECT count(*) FROM read_sessions")).scalar_one() == 1


def test_a_bucket_empties_says_how_long_and_fills(connection: sa.Connection) -> None:
    acme = add_workspace(connection, "acme", name=None, now=NOW)
    prefix = issue_read_token(connection, acme, [], NOW)[:14]
    assert [take_request(connection, prefix, NOW, 3) for _ in range(3)] == [0, 0, 0]
    assert take_request(connection, prefix, NOW + HOUR, 3) == 20  # one in a third of a minute
    (listed,) = list_read_tokens(connection)
    assert listed.last_used_at == NOW  # a refused request is no use
    connection.execute(sa.text("UPDATE read_token_uses SET filled_at = filled_at - interval '1 hour'"))
    assert [take_request(connection, prefix, NOW + HOUR, 3) for _ in range(4)] == [0, 0, 0, 20]


def test_without_a_limit_only_the_use_is_noted(connection: sa.Connection) -> None:
    acme = add_workspace(connection, "acme", name=None, now=NOW)
    prefix = issue_read_token(connection, acme, [], NOW)[:14]
    assert {take_request(connection, prefix, NOW, 0) for _ in range(9)} == {0}
    assert list_read_tokens(connection)[0].last_used_at == NOW
    assert take_request(connection, prefix, NOW, 2) == 0  # a limit that comes later begins with a full bucket


@given(st.text())
def test_no_other_text_is_a_secret(text: str) -> None:
    made = new_secret("upr")
    assert prefix_of(text, "upr") is None
    assert not is_stored(text.encode(errors="replace").decode(), made.sha256)
    assert prefix_of(made.text, "upr") == made.prefix
    assert prefix_of(made.text, "uph") is None
    assert is_stored(made.text, made.sha256)
    assert not is_stored(made.text, None)
    assert made.text not in repr(made)


@pytest.mark.parametrize("kind", ["uph", "upr", "ups"])
def test_a_secret_is_masked_in_every_log(kind: str) -> None:
    made = new_secret(kind)
    masked = Redactor({}).text(f"asked with {made.text} and more")
    assert made.text[15:] not in masked
    assert made.prefix in masked
