"""``usage-pipeline tokens``: shown once, listed without the secret, revoked by prefix."""

from __future__ import annotations

import re

import sqlalchemy as sa

from usage_pipeline_tests.cli.conftest import CommandLine


def test_a_token_is_shown_once_and_only_its_hash_is_stored(acme: CommandLine, engine: sa.Engine) -> None:
    printed = acme.done("tokens", "add", "--workspace", "acme", "--name", "wall display", "--expires", "2026-12-31")
    said, token, following = printed.out.splitlines()
    assert said == "A read token of the workspace acme (usage, events, findings, exports), shown only now:"
    assert re.fullmatch(r"upr_[0-9a-f]{10}_[0-9a-f]{64}", token)
    assert "usage-pipeline serve" in following
    (listed,) = acme.done("tokens", "list", "--json").json
    assert listed == {
        "prefix": token[:14],
        "workspace": "acme",
        "name": "wall display",
        "scopes": ["usage", "events", "findings", "exports"],
        "state": "active",
        "created_at": "2026-11-21T12:00:00Z",
        "expires_at": "2027-01-01T00:00:00Z",
        "revoked_at": None,
        "last_used_at": None,
    }
    with engine.connect() as connection:
        stored = connection.execute(sa.text("SELECT t::text FROM read_tokens AS t")).scalar_one()
    table = acme.done("tokens", "list", "--workspace", "acme").out
    for text in (stored, table, acme.done("audit").out):
        assert token[15:] not in text
        assert token[:14] in text


def test_a_revoked_token_is_said_to_be_and_revoking_again_changes_nothing(acme: CommandLine) -> None:
    token = acme.done("tokens", "add", "--workspace", "acme", "--scope", "raw", "--scope", "usage", "--json").json
    assert token["scopes"] == ["usage", "raw"]
    prefix = token["token"][:14]
    # Somebody may paste the whole token: it is taken for its prefix, and not shown.
    assert acme.done("tokens", "revoke", token["token"]).out == (
        f"The read token {prefix} of acme opens nothing any more.\n"
    )
    acme.environ["USAGE_NOW"] = "2026-11-22T12:00:00Z"
    assert acme.done("tokens", "revoke", prefix).out == f"The read token {prefix} of acme was revoked already.\n"
    (listed,) = acme.done("tokens", "list", "--json").json
    assert (listed["state"], listed["revoked_at"]) == ("revoked", "2026-11-21T12:00:00Z")


def test_what_cannot_be_issued_is_refused_before_anything_is_written(acme: CommandLine) -> None:
    acme.refused("workspace_unknown", "tokens", "add", "--workspace", "nobody")
    assert "'colour' is no scope" in acme.refused(
        "scope_unknown", "tokens", "add", "--workspace", "acme", "--scope", "colour"
    )
    acme.refused("expiry_passed", "tokens", "add", "--workspace", "acme", "--expires", "2026-11-20")
    acme.refused("date_malformed", "tokens", "add", "--workspace", "acme", "--expires", "soon")
    acme.refused("name_malformed", "tokens", "add", "--workspace", "acme", "--name", "a\nb")
    assert acme.done("tokens", "list").out == (
        "There is no read token. Next: usage-pipeline tokens add --workspace SLUG\n"
    )
    assert "nonsense" not in acme.refused("token_unknown", "tokens", "revoke", "nonsense")
