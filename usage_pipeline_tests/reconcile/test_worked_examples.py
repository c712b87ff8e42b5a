"""The worked examples of the rules, by their letters: day D, one account, one model, output tokens, tolerance 2 %.

Each goes the whole way: a scripted provider behind real HTTP, the real database, every stage, and the report.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from usage_pipeline.errors import UsagePipelineError
from usage_pipeline_tests.scripted.account import Bill, Use
from usage_pipeline_tests.scripted.payloads import Call, v2_payload, v3_payload
from usage_pipeline_tests.scripted.scenario import Json, Scenario, figure, figures, utc

D = date(2026, 3, 10)
NOON = utc(D, 12)
D_SETTLED = utc(D + timedelta(days=4), 6)  # the day ended 78 hours ago, 72 are enough
TEXT = {"provider": "openai", "route": "account", "family": "text"}


def hermes_says(generated_at: datetime, *calls: Call) -> Json:
    """A v3 batch about D and its neighbours."""
    end_day = min(D + timedelta(days=2), generated_at.date() + timedelta(days=1))
    return v3_payload(generated_at, calls, D - timedelta(days=1), end_day)


def said(
    *,
    p: int | None,
    h: int | None,
    counted: int | None,
    explained: int = 0,
    unattributed: int = 0,
    excess: int = 0,
    stand_in: int = 0,
) -> dict[str, int | None]:
    """The seven figures of a row's output."""
    return {
        "reported_by_provider": p,
        "reported_by_hermes": h,
        "counted": counted,
        "explained": explained,
        "unattributed": unattributed,
        "excess": excess,
        "stand_in": stand_in,
    }


def shown(row: Json) -> dict[str, int | None]:
    """A row's seven figures of output, where nothing of the four parts is written as 0."""
    found = figures(row)
    return {name: value if name in _MAY_BE_NULL else value or 0 for name, value in found.items()}


_MAY_BE_NULL = {"reported_by_provider", "reported_by_hermes", "counted"}


def decided(row: Json) -> tuple[str, bool, list[str]]:
    return row["decision"], row["provisional"], row["findings"]


def test_a_hermes_explains_a_part_and_the_rest_is_unattributed(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000)
    scenario.at(D_SETTLED).pull(key, D)
    scenario.send(feed, hermes_says(D_SETTLED, Call(utc(D, 9), output=800)))
    scenario.settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=1000, h=800, counted=1000, explained=800, unattributed=200)
    assert decided(row) == ("provider", False, [])


def test_b_what_hermes_says_beyond_a_final_figure_is_excess_and_a_finding(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    days = [D - timedelta(days=1), D, D + timedelta(days=1)]
    for day in days:
        key.account.spend(utc(day, 9), 1000)
    settled = D_SETTLED + timedelta(days=1)
    scenario.at(settled).pull(key, days[0], D + timedelta(days=2))
    hermes = {days[0]: 1000, D: 1100, days[2]: 1000}
    scenario.send(feed, hermes_says(settled, *(Call(utc(day, 9), output=output) for day, output in hermes.items())))
    scenario.settle(*days)
    row = scenario.row(D)
    assert shown(row) == said(p=1000, h=1100, counted=1000, explained=1000, excess=100)
    assert decided(row) == ("provider", False, ["hermes_exceeds_provider"])
    assert [scenario.row(day)["findings"] for day in (days[0], days[2])] == [[], []]


def test_c_hermes_stands_in_where_no_pull_is_there(scenario: Scenario) -> None:
    scenario.register()
    feed = scenario.hermes()
    scenario.at(utc(D, 20)).send(feed, hermes_says(utc(D, 20), Call(utc(D, 9), output=800)))
    scenario.settle(D)
    row = scenario.row(D, family="text")
    assert shown(row) == said(p=None, h=800, counted=800, stand_in=800)
    assert decided(row)[:2] == ("hermes_standin", True)


def test_d_a_complete_pull_takes_the_place_of_the_stand_in(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    scenario.at(utc(D, 20)).send(feed, hermes_says(utc(D, 20), Call(utc(D, 9), output=800)))
    scenario.settle(D)
    assert figure(scenario.row(D, family="text"), "stand_in") == 800
    key.account.spend(utc(D, 9), 900)
    scenario.at(D_SETTLED).pull(key, D)
    scenario.settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=900, h=800, counted=900, explained=800, unattributed=100)
    assert decided(row) == ("provider", False, [])


def test_e_a_complete_pull_without_rows_is_zero_and_counts(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    scenario.at(D_SETTLED).pull(key, D)
    scenario.send(feed, hermes_says(D_SETTLED, Call(utc(D, 9), output=800)))
    scenario.settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=0, h=800, counted=0, excess=800)
    assert decided(row) == ("provider", False, ["hermes_exceeds_provider"])


def test_f_call_time_hours_after_an_open_days_pull_stand_in(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 600)
    scenario.at(NOON).pull(key, D)
    later = utc(D, 18)
    scenario.at(later).send(feed, hermes_says(later, Call(utc(D, 9), output=500), Call(utc(D, 14), output=200)))
    scenario.settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=600, h=700, counted=800, explained=500, unattributed=100, stand_in=200)
    assert decided(row) == ("provider_then_hermes", True, [])


def test_g_the_hours_of_a_v2_payload_are_no_arithmetic(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 600)
    scenario.at(NOON).pull(key, D)
    later = utc(D, 18)
    scenario.at(later).send(feed, v2_payload(later, [Call(utc(D, 14), output=700)]))
    scenario.settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=600, h=700, counted=700, explained=600, stand_in=100)
    assert decided(row) == ("provider_then_hermes", True, [])


def two_keys_that_see_the_same(scenario: Scenario, **of_second: object) -> None:
    """A whole-account key that sees 1000, and a second key of the account that sees 400 of them."""
    admin = scenario.register()
    second = scenario.register(name="second", **of_second)  # type: ignore[arg-type]
    project = {"project": "proj_a"} if of_second.get("projects") else {}
    admin.account.spend(utc(D, 9), 600)
    for account in (admin.account, second.account):
        account.spend(utc(D, 10), 400, **project)
    scenario.at(D_SETTLED).pull(admin, D)
    scenario.pull(second, D)


def check_h(scenario: Scenario) -> None:
    scenario.settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=1000, h=None, counted=1000, unattributed=1000)
    assert decided(row) == ("provider", False, [])
    assert scenario.codes(D) == []
    # The second key's rows stay, and do not count.
    stored = scenario.select(
        "SELECT feeds.slug, sum(output)::bigint AS output FROM usage_events JOIN slices USING (slice_id)"
        " JOIN feeds USING (feed_id) GROUP BY 1 ORDER BY 1"
    )
    assert stored == [{"slug": "acme.openai.main", "output": 1000}, {"slug": "acme.openai.second", "output": 400}]


def test_h_a_key_narrowed_to_a_project_is_shadowed(scenario: Scenario) -> None:
    two_keys_that_see_the_same(scenario, projects=["proj_a"])
    check_h(scenario)
    # Its bill is a part of the account's: 1000 tokens at ten dollars a million, once.
    assert Decimal(scenario.row(D)["cost"]["counted"]["usd"]) == Decimal("0.01")


def test_h_a_standard_key_at_its_own_endpoint_is_shadowed(scenario: Scenario) -> None:
    admin = scenario.register()
    standard = scenario.register(name="second", mode="standard")
    admin.account.spend(utc(D, 9), 1000)
    standard.account.uses += [Use(utc(D, 9), output=300), Use(utc(D, 9, 35), output=100)]
    scenario.at(D_SETTLED).pull(admin, D)
    scenario.pull(standard, D)
    check_h(scenario)


def test_i_a_restated_figure_replaces_and_its_vanished_row_is_history(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 700, user="user_anna")
    key.account.spend(utc(D, 9), 300, user="user_ben")
    scenario.at(D_SETTLED).pull(key, D)
    scenario.send(feed, hermes_says(D_SETTLED, Call(utc(D, 9), output=800)))
    scenario.settle(D)
    assert figure(scenario.row(D), "counted") == 1000

    key.account.forget()
    key.account.spend(utc(D, 9), 950, user="user_anna")
    restated = D_SETTLED + timedelta(days=1)
    scenario.at(restated).pull(key, D)
    scenario.settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=950, h=800, counted=950, explained=800, unattributed=150)
    assert decided(row) == ("provider", False, ["restated_after_final"])
    provider_rows = "slice_id IN (SELECT slice_id FROM slices WHERE endpoint = 'completions')"
    standing = scenario.select(f"SELECT user_id, output FROM usage_events WHERE {provider_rows}")
    assert standing == [{"user_id": "user_anna", "output": 950}]
    believed = scenario.select(
        f"SELECT user_id, output FROM usage_event_history WHERE {provider_rows} AND superseded_at = :at ORDER BY 1",
        at=restated,
    )
    assert believed == [{"user_id": "user_anna", "output": 700}, {"user_id": "user_ben", "output": 300}]


def test_j_a_subscription_is_off_the_account_and_counts_as_hermes_says(scenario: Scenario) -> None:
    feed = scenario.hermes()
    call = Call(utc(D, 9), output=300, billing="openai-codex", billing_mode="subscription_included")
    scenario.at(utc(D, 20)).send(feed, hermes_says(utc(D, 20), call))
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["provider"], row["route"], row["model"]) == ("openai", "off_account:openai-codex", "gpt-5")
    assert shown(row) == said(p=None, h=300, counted=300, explained=300)
    assert row["decision"] == "hermes_only"
    assert row["cost"]["hermes"]["basis"] == "included"


def test_j_a_v2_feed_says_by_its_setting_that_it_is_off_the_account(scenario: Scenario) -> None:
    feed = scenario.hermes(bills_to={"openai": "off_account:openai-codex"})
    scenario.at(utc(D, 20)).send(feed, v2_payload(utc(D, 20), [Call(utc(D, 9), output=300)]))
    scenario.settle(D)
    row = scenario.row(D)
    assert (row["provider"], row["route"], row["model"]) == ("openai", "off_account:openai-codex", "gpt-5")
    assert shown(row) == said(p=None, h=300, counted=300, explained=300)
    assert row["decision"] == "hermes_only"


def test_k_a_republished_day_replaces_what_hermes_said_before(scenario: Scenario) -> None:
    feed = scenario.hermes()
    evening = utc(D, 20)
    scenario.at(evening).send(feed, v2_payload(evening, [Call(utc(D, 9), output=800)]))
    scenario.settle(D)
    assert figure(scenario.row(D), "reported_by_hermes") == 800
    # A session of 150 that ended after midnight moved to the next day, where it ended.
    morning = utc(D + timedelta(days=1), 8)
    calls = [Call(utc(D, 9), output=650), Call(utc(D + timedelta(days=1), 1), output=150)]
    scenario.at(morning).send(feed, v2_payload(morning, calls))
    scenario.settle(D, D + timedelta(days=1))
    assert figure(scenario.row(D), "reported_by_hermes") == 650
    assert figure(scenario.row(D + timedelta(days=1)), "reported_by_hermes") == 150
    assert "provider_missing" not in scenario.codes(D)


def test_l_a_dated_snapshot_and_its_alias_meet_in_one_cell(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000, "gpt-5-2025-08-07")
    scenario.at(D_SETTLED).pull(key, D)
    scenario.send(feed, hermes_says(D_SETTLED, Call(utc(D, 9), "gpt-5", output=800)))
    scenario.settle(D)
    row = scenario.row(D)
    assert row["model"] == "gpt-5"
    assert shown(row) == said(p=1000, h=800, counted=1000, explained=800, unattributed=200)


def test_m_two_accounts_are_cut_at_the_lesser_of_their_hours(scenario: Scenario) -> None:
    first = scenario.register(name="first", organization="org-a")
    second = scenario.register(name="second", organization="org-b")
    feed = scenario.hermes()
    scenario.at(NOON).pull(first, D)
    second.account.spend(utc(D, 14), 300)
    late = utc(D, 23)
    scenario.at(late).pull(second, D)
    scenario.send(feed, hermes_says(late, Call(utc(D, 14), output=300)))
    scenario.settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=300, h=300, counted=300, explained=300)
    assert decided(row) == ("provider", True, [])


def test_n_explained_cache_writes_fill_the_providers_lifetimes_in_order(scenario: Scenario) -> None:
    key, feed = scenario.register("anthropic"), scenario.hermes()
    model = "claude-sonnet-4-5"
    key.account.uses.append(Use(utc(D, 9), model, cache_write_5m=100, cache_write_1h=50))
    # 3.75 and 6 dollars per million tokens written for five minutes and for an hour.
    for token_type, usd in (("5m", "0.000375"), ("1h", "0.0003")):
        label, name = f"Cache write {token_type}", f"cache_creation.ephemeral_{token_type}_input_tokens"
        key.account.bills.append(Bill(D, Decimal(usd), label, model, name))
    scenario.at(D_SETTLED).pull(key, D)
    scenario.send(feed, hermes_says(D_SETTLED, Call(utc(D, 9), model, cache_write=120, billing="anthropic")))
    scenario.settle(D)
    row = scenario.row(D)
    written = {
        name: {
            lifetime: figure(row, name, f"cache_write_{lifetime}") or 0
            for lifetime in ("5m", "30m", "1h", "12h", "unsplit")
        }
        for name in ("reported_by_hermes", "counted", "explained", "unattributed", "excess", "stand_in")
    }
    nothing = dict.fromkeys(("5m", "30m", "1h", "12h", "unsplit"), 0)
    assert written == {
        "reported_by_hermes": nothing | {"unsplit": 120},
        "counted": nothing | {"5m": 100, "1h": 50},
        "explained": nothing | {"5m": 100, "1h": 20},
        "unattributed": nothing | {"1h": 30},
        "excess": nothing,
        "stand_in": nothing,
    }
    assert decided(row) == ("provider", False, [])


def test_o_time_alone_makes_nothing_final(scenario: Scenario) -> None:
    key = scenario.register()
    key.account.spend(utc(D, 9), 600)
    scenario.at(NOON).pull(key, D)
    scenario.at(utc(D + timedelta(days=10))).settle(D)
    row = scenario.row(D)
    assert shown(row) == said(p=600, h=None, counted=600, unattributed=600)
    assert (row["decision"], row["provisional"]) == ("provider", True)
    assert "provider_stale" in scenario.codes(D)


def test_o_a_stale_day_without_any_row_is_a_finding_all_the_same(scenario: Scenario) -> None:
    key = scenario.register()
    scenario.at(NOON).pull(key, D)
    scenario.at(utc(D + timedelta(days=10))).settle(D)
    assert "provider_stale" in scenario.codes(D)
    assert "window_missing" not in scenario.codes(D)


def test_p_a_family_that_fails_leaves_the_others_final(scenario: Scenario) -> None:
    key, feed = scenario.register(), scenario.hermes()
    key.account.spend(utc(D, 9), 1000)
    key.account.refuse("embeddings")
    with pytest.raises(UsagePipelineError):
        scenario.at(D_SETTLED).pull(key, D)
    scenario.send(feed, hermes_says(D_SETTLED, Call(utc(D, 9), output=800)))
    scenario.settle(D)
    text = scenario.row(D, family="text")
    assert shown(text) == said(p=1000, h=800, counted=1000, explained=800, unattributed=200)
    assert decided(text) == ("provider", False, [])
    embeddings = scenario.row(D, family="embeddings")
    assert (embeddings["model"], embeddings["decision"]) == ("", "no_data")
    assert figure(embeddings, "counted", "uncached_input") is None
    assert embeddings["findings"] == ["window_missing"]
