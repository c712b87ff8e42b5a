"""The other answers of the usage API, and its tags: unchanged is 304, and nothing that changed ever is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from usage_pipeline import stages
from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.dimension_names import Named, store_names
from usage_pipeline.ledger.feed_settings import disable_feed
from usage_pipeline.ledger.provider_keys import get_provider_key
from usage_pipeline.reconcile.coverage import State
from usage_pipeline.service import openapi_usage as described
from usage_pipeline.service.coverage import STATES
from usage_pipeline_tests.reconcile.test_cuts import NEXT, SETTLED, D
from usage_pipeline_tests.scripted.payloads import Call, v3_payload
from usage_pipeline_tests.scripted.scenario import Scenario, utc
from usage_pipeline_tests.service.api_world import DAY, LATER, Api, api_on

TAGGED = ("/api/usage", "/api/usage/events", "/api/findings", "/api/coverage", "/api/bills", "/api/workspaces")


def test_findings_are_those_of_the_report_page_by_page(api: Api) -> None:
    printed = {one["id"]: one for one in api.scenario.report(D, workspace="acme")["findings"]}
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.told("/api/findings", **DAY, limit=1, **cursor)
        found += page["findings"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(found) == len(printed) > 1
    assert {one["id"]: one for one in found} == printed
    code = found[0]["code"]
    chosen = api.told("/api/findings", **DAY, code=code, state="all")["findings"]
    assert {one["code"] for one in chosen} == {code}
    assert api.told("/api/findings", **DAY, state="closed")["findings"] == []
    assert api.told("/api/findings", **DAY, provider="nobody")["findings"] == []
    api.refused(400, "parameter_malformed", api.get("/api/findings", **DAY, code="nonsense"))
    api.refused(400, "cursor_malformed", api.get("/api/findings", **DAY, cursor="WyJ4IiwiYSIsMV0="))


def test_coverage_tells_every_feed_and_every_day(api: Api) -> None:
    wanted = {"from": (D - timedelta(days=1)).isoformat(), "to": (D + timedelta(days=6)).isoformat()}
    feeds = {one["feed"]: one for one in api.told("/api/coverage", **wanted)["feeds"]}
    assert set(feeds) >= {"acme.openai.wide", "acme.openai.narrow", "acme.anthropic.claude", "acme.laptop"}
    wide = {day["date"]: day for day in feeds["acme.openai.wide"]["days"]}
    assert len(wide) == 8
    of_day = wide[D.isoformat()]
    assert (of_day["state"], of_day["complete"]) == ("final", True)
    assert of_day["covered_until"] == f"{NEXT.isoformat()}T00:00:00Z"
    assert set(of_day["endpoints"].values()) == {"final"}
    assert wide[(D - timedelta(days=1)).isoformat()]["state"] == "missing"
    assert wide[LATER.date().isoformat()]["state"] == "awaited"
    assert wide[(D + timedelta(days=6)).isoformat()]["state"] == "not_begun"
    claude = {day["date"]: day for day in feeds["acme.anthropic.claude"]["days"]}
    assert (claude[D.isoformat()]["state"], claude[D.isoformat()]["complete"]) == ("provisional", True)
    assert feeds["acme.laptop"]["days"][1]["state"] == "final"
    (only,) = api.told("/api/coverage", **DAY, feed="acme.laptop")["feeds"]
    assert (only["feed"], only["source"], only["provider"]) == ("acme.laptop", "hermes_plugin", None)
    assert State.FINAL > State.PROVISIONAL > State.FAILED  # the order of the weakest


def test_coverage_tells_what_failed_and_what_was_not_asked(empty_api: Api) -> None:
    empty_api.scenario.register(name="wide")
    key = empty_api.scenario.register(name="broken")
    key.account.refuse("completions", 401)
    with pytest.raises(Exception, match="401"):
        empty_api.scenario.pull(key, NEXT)
    with empty_api.scenario.runtime.engine.begin() as connection:
        wide = get_provider_key(connection, "acme.openai.wide")
        disable_feed(connection, wide.feed_id, wide.slug, LATER)
    empty_api.scenario.at(LATER + timedelta(days=5))
    today = LATER.date()
    wanted = {"from": NEXT.isoformat(), "to": (today + timedelta(days=1)).isoformat()}
    told = empty_api.told("/api/coverage", **wanted)["feeds"]
    feeds = {one["feed"]: {day["date"]: day for day in one["days"]} for one in told}
    broken = feeds["acme.openai.broken"][NEXT.isoformat()]
    assert (broken["state"], broken["complete"], broken["errors"]) == ("failed", False, ["credential_refused"])
    of_wide = [day["state"] for day in feeds["acme.openai.wide"].values()]
    assert (of_wide[-2], of_wide[-1]) == ("missing", "disabled")
    assert {day["state"] for days in feeds.values() for day in days.values()} <= STATES.keys()


def test_bills_have_whole_billionths_beside_the_texts(api: Api) -> None:
    bills = api.told("/api/bills", **DAY)["bills"]
    printed = api.scenario.report(D, workspace="acme")["bills"]
    assert len(bills) == len(printed) > 0
    for bill, one in zip(bills, printed, strict=True):
        assert one.items() <= bill.items()
        if bill["billed_usd"] is not None:
            assert bill["billed_nano_usd"] == round(Decimal(bill["billed_usd"]).scaleb(9))
        else:
            assert bill["billed_nano_usd"] is None


def test_the_workspace_is_the_tokens_own(api: Api) -> None:
    (workspace,) = api.told("/api/workspaces")["workspaces"]
    assert (workspace["slug"], workspace["demo"]) == ("acme", False)
    assert (workspace["first_day"], workspace["last_day"]) == (D.isoformat(), D.isoformat())
    session = api.told("/api/session")
    assert (session["workspace"], session["through"], session["ends_at"]) == ("acme", "token", None)


@pytest.mark.parametrize("path", TAGGED)
def test_what_the_caller_has_is_not_sent_again(api: Api, path: str) -> None:
    asked = {} if path == "/api/workspaces" else DAY
    first = api.get(path, **asked)
    tag = first.headers["ETag"]
    assert tag.startswith('"')  # strong
    assert first.headers["Cache-Control"] == "private, no-cache"

    def again(known: str, workspace: str = "acme") -> Any:
        headers = {"Authorization": f"Bearer {api.tokens[workspace]}", "If-None-Match": known}
        return api.client.get(path, params=asked, headers=headers)

    for known in (tag, f'"x", {tag}', f"W/{tag}"):
        answer = again(known)
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag)
    assert again('"x"').content == first.content
    assert again(tag, "globex").status_code == 200
    assert path == "/api/workspaces" or api.get(path, **{**DAY, "from": "2026-03-09"}).headers["ETag"] != tag


def _one_key(scenario: Scenario) -> None:
    """A final day of one key and of a Hermes feed."""
    scenario.workspace("globex")
    key = scenario.register(name="wide", grain="1d")
    key.account.spend(utc(D, 9), 700, project="proj_a")
    feed = scenario.hermes("laptop")
    scenario.at(SETTLED).pull(key, D)
    scenario.send(feed, v3_payload(SETTLED, [Call(utc(D, 9), output=600)], D, NEXT))
    scenario.settle(D)


def _restated(api: Api) -> None:
    """The provider says more now; nothing is decided anew yet."""
    (account,) = api.scenario.served.accounts.values()
    account.spend(utc(D, 9), 5, project="proj_a")
    stages.pull_days(api.scenario.runtime, "acme.openai.wide", D, NEXT)
    stages.normalise_usage(api.scenario.runtime, [D])


def _decided_anew(api: Api) -> None:
    """The same instant, another policy."""
    api.scenario.workspace(policy="hermes_only")
    api.scenario.settle(D)


def _named(api: Api) -> None:
    with api.scenario.runtime.engine.begin() as connection:
        store_names(connection, "openai", "org-acme", [Named("project_id", "proj_a", "Shop")], SETTLED)


def test_what_changed_is_sent_though_the_clock_stands_still(migrated_database: str, tmp_path: Path) -> None:
    asked = {**DAY, "group_by": "project,source"}
    with api_on(migrated_database, tmp_path, fill=_one_key) as api:
        for change in (_named, _restated, _decided_anew):
            before, events = api.get("/api/usage", **asked), api.get("/api/usage/events", **DAY)
            api.issue("acme")  # changes no answer
            known = {"Authorization": f"Bearer {api.tokens['acme']}", "If-None-Match": before.headers["ETag"]}
            assert api.client.get("/api/usage", params=asked, headers=known).status_code == 304
            change(api)
            after = api.client.get("/api/usage", params=asked, headers=known)
            assert after.status_code == 200, change
            assert after.content != before.content, change
            assert api.get("/api/usage/events", **DAY).headers["ETag"] != events.headers["ETag"], change


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def test_what_does_not_add_up_is_never_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    error = InvariantError("cut_does_not_add_up", "the rows do not sum to 4711")
    monkeypatch.setattr("usage_pipeline.service.usage.usage_figures", _raising(error))
    told = api.refused(500, "cut_does_not_add_up", api.get("/api/usage", **DAY))
    assert "4711" not in told["error"]


def test_an_answer_that_takes_too_long_says_what_to_do(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(connection: sa.Connection, *_: Any) -> Any:
        connection.execute(sa.text("SET LOCAL statement_timeout = '20ms'"))
        connection.execute(sa.text("SELECT pg_sleep(5)"))

    monkeypatch.setattr("usage_pipeline.service.usage.usage_figures", slow)
    assert "fewer days" in api.refused(503, "answer_too_slow", api.get("/api/usage", **DAY))["error"]


def test_no_reader_can_change_anything(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(connection: sa.Connection, *_: Any) -> Any:
        connection.execute(sa.text("UPDATE workspaces SET name = 'x'"))

    monkeypatch.setattr("usage_pipeline.service.usage.usage_figures", write)
    assert api.get("/api/usage", **DAY).status_code == 500
    assert api.told("/api/workspaces")["workspaces"][0]["name"] == "acme"


@pytest.mark.parametrize("path", sorted(described.READINGS))
def test_the_examples_of_the_description_are_answers(path: str) -> None:
    _, model = described.READINGS[path]
    extra: Any = model.model_config["json_schema_extra"]
    assert extra["examples"]
    for example in extra["examples"]:
        model.model_validate(example)
