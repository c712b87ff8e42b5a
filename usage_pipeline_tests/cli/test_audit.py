"""``usage-pipeline audit``: every change, by whom, and never a secret."""

from __future__ import annotations

from usage_pipeline_tests.cli.conftest import CommandLine

CANARY = "sk-canary-0123456789abcdef"
RING = "a1:" + "B" * 43 + "="


def test_every_change_is_listed_with_who_made_it_and_no_secret(command: CommandLine) -> None:
    command.environ |= {"USAGE_ACTOR": "jane", "USAGE_ENCRYPTION_KEYS": RING, "CRON_SECRET": f"{CANARY}-cron"}
    command.done("workspace", "add", "acme")
    command.done("workspace", "set", "acme", "--policy", "hermes_first")
    key = ("--workspace", "acme", "--provider", "openai", "--name", "main", "--mode", "admin", "--secret", "-")
    command.done("keys", "add", *key, given=f"{CANARY}\n")
    command.done("keys", "set", "acme.openai.main", "--grain", "1d")
    command.done("keys", "set", "acme.openai.main", "--project", "proj_a")
    command.done("keys", "rotate", "acme.openai.main", "--secret", "-", given=f"{CANARY}-2\n")
    command.environ["USAGE_ENCRYPTION_KEYS"] = f"a2:{'C' * 43}=,{RING}"
    command.done("keys", "rotate", "--encryption-key")
    command.done("keys", "disable", "acme.openai.main")
    command.done("keys", "enable", "acme.openai.main")
    feed = ("--workspace", "acme", "--label", "laptop", "--environment", "production", "--days-back", "30")
    token = command.done("hermes", "add-feed", *feed, "--json").json["token"]
    command.done("hermes", "set", "acme.laptop", "--no-counts")
    command.done("hermes", "rotate-token", "acme.laptop")
    command.done("hermes", "disable", "acme.laptop")
    listed = command.done("audit", "--json")
    assert [entry["what"] for entry in listed.json] == [
        "settings_changed",
        "workspace_added",
        "policy_set",
        "key_added",
        "grain_changed",
        "projects_set",
        "secret_rotated",
        "secret_rewrapped",
        "enabled_set",
        "enabled_set",
        "hermes_feed_added",
        "feed_token_issued",
        "counts_set",
        "feed_token_ended",
        "feed_token_issued",
        "enabled_set",
    ]
    assert {entry["actor"] for entry in listed.json} == {"jane"}
    shown = listed.out + command.done("audit").out
    for secret in (CANARY, "B" * 43, "C" * 43, token, token.rsplit("_", 1)[-1]):
        assert secret not in shown


def test_changed_settings_are_one_entry_with_their_values_and_no_secret(command: CommandLine) -> None:
    command.done("workspace", "add", "one")
    command.environ |= {"USAGE_LOOK_BACK_DAYS": "9", "USAGE_METRICS_TOKEN": CANARY, "OPENAI_SETTLING_HOURS": "48"}
    command.done("workspace", "add", "two")
    command.done("workspace", "add", "three")
    command.environ["USAGE_LOOK_BACK_DAYS"] = None
    command.done("workspace", "add", "four")
    first, second = command.done("audit", "--subject", "settings", "--json").json
    assert first["detail"]["changed"] == {
        "OPENAI_SETTLING_HOURS": {"from": None, "to": 48},
        "USAGE_LOOK_BACK_DAYS": {"from": None, "to": 9},
        "USAGE_METRICS_TOKEN": {"from": None, "to": "(set)"},
    }
    assert second["detail"]["changed"] == {"USAGE_LOOK_BACK_DAYS": {"from": 9, "to": None}}
    assert CANARY not in command.done("audit").out


def test_entries_are_found_by_day_and_subject(command: CommandLine) -> None:
    command.done("workspace", "add", "early")
    command.environ["USAGE_NOW"] = "2026-11-23T00:00:00Z"
    command.done("workspace", "add", "late")

    def subjects(*options: str) -> list[str]:
        return [entry["subject"] for entry in command.done("audit", "--json", *options).json]

    assert subjects() == ["early", "late"]
    assert subjects("--to", "2026-11-22") == ["early"]
    assert subjects("--from", "2026-11-23", "--to", "2026-11-23") == ["late"]
    assert subjects("--subject", "early") == ["early"]
    command.refused("date_malformed", "audit", "--from", "yesterday")


def test_without_an_actor_it_is_the_user_of_the_system(command: CommandLine) -> None:
    command.environ |= {"USAGE_ACTOR": None, "LOGNAME": "operator"}
    command.done("workspace", "add", "acme")
    (entry,) = command.done("audit", "--json").json
    assert entry["actor"] == "operator"
