"""No secret leaves in a text: neither one that looks like a key nor one that is known to be one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.secret import Secret
from usage_pipeline.telemetry.redaction import MASK, Redactor, remember_secret

NOTHING = Redactor({})


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Incorrect API key: sk-admin-abcdefgh1234", "abcdefgh1234"),
        ("sk-ant-admin01-abcd-efgh and more", "abcd-efgh"),
        ("Authorization: Bearer abc.def.ghi", "abc.def.ghi"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("postgresql://user:hunter2@db/usage", "hunter2"),
        ("https://host/x?token=abc123&day=1", "abc123"),
        ('{"api_key": "abc123"}', "abc123"),
        ("the token uph_0123456789_" + "ab" * 32, "abababab"),
        ("a hash 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "9f86d081"),
    ],
)
def test_what_looks_like_a_key_is_masked(text: str, secret: str) -> None:
    masked = NOTHING.text(text)
    assert secret not in masked
    assert MASK in masked


@pytest.mark.parametrize(
    "text",
    [
        "run 0b2f8f2e-5c0e-4b43-9d0a-0f6d6b2f5a11 of acme.openai.main",
        "2026-11-22T02:10:00.000Z POST /api/ingest/hermes-usage 200 3.1 ms acme.laptop batch 5",
        "usage-pipeline backfill --from 2026-11-08 --to 2026-11-10 --key acme.openai.main",
        "gpt-5-2025-08-07: uncached_input: Hermes reports 5629711, the provider 5311049.",
        "https://dagster.acme.example/assets/usage_events?view=checks&checkDetail=token_classes_add_up",
        "a risk-averse task-specific disk-backed store; no token, the secret is missing",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    assert NOTHING.text(text) == text


def test_the_values_of_variables_that_hold_secrets_are_masked() -> None:
    redactor = Redactor(
        {
            "USAGE_ENCRYPTION_KEYS": "new:q83vEjRWeJA=,old:AAECAwQFBgc=",
            "CRON_SECRET": "correct horse",
            "USAGE_METRICS_TOKEN": "scrape-me",
            "OPENAI_ADMIN_KEY": "plain-words-here",
            "USAGE_DATABASE_URL": "postgresql://user:hunter22@db:5432/usage",
            "USAGE_HOME": "/srv/usage",
        }
    )
    said = redactor.text("q83vEjRWeJA= AAECAwQFBgc= correct horse scrape-me plain-words-here hunter22 /srv/usage db")
    assert said == " ".join([MASK] * 6 + ["/srv/usage", "db"])
    assert "hunter22" not in repr(redactor)


def test_the_tokens_of_an_alert_url_are_masked_and_its_words_stay() -> None:
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts"
    redactor = Redactor({"USAGE_ALERT_URLS": f"json://ops:s3cret99@hooks.example:8080/alerts, {url}"})
    said = redactor.text(f"{url} A1BRTD4JD s3cret99 usage-pipeline alerts list, hooks.example")
    for secret in ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdn", "s3cret99"):
        assert secret not in said
    assert said.endswith("usage-pipeline alerts list, hooks.example")


def test_a_secret_that_was_opened_is_masked_from_then_on() -> None:
    assert NOTHING.text("the word quiet-canary-word") == "the word quiet-canary-word"
    remember_secret(Secret("quiet-canary-word"))
    assert NOTHING.text("the word quiet-canary-word") == f"the word {MASK}"


def test_a_known_secret_that_contains_an_opened_one_leaves_nothing_of_itself() -> None:
    remember_secret(Secret("hunter-two-and"))
    redactor = Redactor({"CRON_SECRET": "hunter-two-and-a-half"})
    assert redactor.text("said hunter-two-and-a-half") == f"said {MASK}"


def test_every_text_of_a_value_is_masked() -> None:
    redactor = Redactor({"CRON_SECRET": "canary-word"})
    deep = {"deep": ("canary-word", 7, None, True)}
    value = {"canary-word": ["canary-word", deep], "error": ValueError("canary-word")}
    assert "canary-word" not in str(redactor.value(value))
    assert redactor.value({"n": 7, "x": None}) == {"n": 7, "x": None}


@given(secret=st.text(st.characters(categories=("L", "N", "P")), min_size=8, max_size=40), around=st.text(max_size=40))
def test_a_known_secret_is_in_no_text(secret: str, around: str) -> None:
    masked = Redactor({"SOME_SECRET": secret}).text(f"{around}{secret}{around}")
    assert not any(secret in piece for piece in masked.split(MASK))
