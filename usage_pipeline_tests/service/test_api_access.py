"""Who may read what: every route stands in one table, and a token opens its own workspace and scopes, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from usage_pipeline.errors import InvariantError
from usage_pipeline.ledger.audit_log import list_changes
from usage_pipeline.ledger.feed_tokens import issue_token
from usage_pipeline.ledger.hermes_feeds import get_hermes_feed
from usage_pipeline.ledger.read_tokens import SCOPES, revoke_read_token
from usage_pipeline.ledger.workspaces import add_workspace
from usage_pipeline.service.access import ACCESS, Access, check_routes, methods_of
from usage_pipeline.service.page.files import page_files
from usage_pipeline.settings import Settings
from usage_pipeline_tests.service.api_world import DAY, LATER, Api, api_on, two_empty_workspaces

OF_DAYS = ("/api/usage", "/api/usage/events", "/api/coverage", "/api/bills", "/api/findings")
READERS = sorted((method, path) for (method, path), rule in ACCESS.items() if rule.access is Access.READER)
OF_ACME = ("acme", "proj_a", "proj_b", "user_1", "user_2", "org-acme", "claude", "Website", "laptop", "github.com")


def asked(path: str) -> tuple[str, dict[str, str]]:
    """A path that is served, with what it needs to be asked."""
    place = path.format(pull=1, page=0, digest=page_files().digest, name="main.js")
    return place, dict(DAY) if path in OF_DAYS or "/exports/" in path else {}


def routes_of(api: Api) -> list[tuple[str, str]]:
    app: Any = api.client.app
    return methods_of(app.routes)


def test_every_route_has_its_place_in_the_table_and_every_place_a_route(api: Api) -> None:
    assert sorted(routes_of(api)) == sorted(ACCESS)
    assert {method for method, _ in READERS} == {"GET"}  # what a session opens changes nothing
    opened = {path for (_, path), rule in ACCESS.items() if rule.access is Access.OPEN}
    page = {"/", "/login", "/static/{digest}/{name}"}  # which hold no figure
    assert opened == {"/healthz", "/readyz", "/openapi.json", "/api/ingest/hermes-usage/schema/v3", *page}


def test_a_route_that_nobody_decided_about_stops_the_service() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(InvariantError, match="GET /forgotten"):
        check_routes(app.routes)
    app.mount("/static", FastAPI())
    with pytest.raises(InvariantError, match=r"\* /static"):
        check_routes(app.routes)


@pytest.mark.parametrize(("method", "path"), sorted(ACCESS))
def test_no_route_tells_anything_without_what_it_asks_for(api: Api, method: str, path: str) -> None:
    place, parameters = asked(path)
    access = ACCESS[method, path].access
    if access is Access.OPEN:
        assert api.client.request(method, place).status_code == 200
        return
    for headers in ({}, {"Authorization": "Bearer upr_0123456789_" + "0" * 64}, {"Cookie": "usage_session=x"}):
        answer = api.client.request(method, place, params=parameters, headers=headers)
        wanted = {
            Access.READER: {(401, "token_refused")},
            Access.LOGIN: {(415, "content_type_unknown"), (204, None)},
            Access.FEED_TOKEN: {(503, "no_token_configured")},
            Access.CRON_SECRET: {(503, "cron_closed")},
            Access.METRICS_TOKEN: {(403, "metrics_closed")},
        }[access]
        assert (answer.status_code, answer.json()["code"] if answer.content else None) in wanted
        assert not any(word in answer.text for word in OF_ACME)


@pytest.mark.parametrize(("method", "path"), READERS)
def test_a_token_of_another_workspace_sees_nothing(api: Api, method: str, path: str) -> None:
    place, parameters = asked(path)
    answer = api.get(place, "globex", **parameters)
    assert answer.status_code in {200, 404}
    assert not any(word.encode() in answer.content for word in OF_ACME)
    assert answer.status_code == 404 or b"globex" in answer.content or "/exports/parquet" in path
    own = api.get(place, "acme", **parameters)
    assert own.status_code == 200
    assert b"globex" not in own.content
    if path in OF_DAYS or "/exports/" in path:
        texts = [
            api.refused(403, "workspace_forbidden", api.get(place, "globex", **parameters, workspace=other))["error"]
            for other in ("acme", "nobody")
        ]
        assert texts[0] == texts[1]


@pytest.mark.parametrize(("method", "path"), READERS)
def test_a_token_without_the_scope_is_refused(api: Api, method: str, path: str) -> None:
    scope = ACCESS[method, path].scope
    place, parameters = asked(path)
    others = [name for name in SCOPES if name != scope]
    answer = api.get(place, token=api.issue("acme", others), **parameters)
    if scope is None:
        assert answer.status_code == 200
    else:
        api.refused(403, "scope_missing", answer)
        assert api.get(place, token=api.issue("acme", [scope]), **parameters).status_code == 200


def test_the_token_of_a_feed_reads_nothing_and_a_read_token_writes_nothing(empty_api: Api) -> None:
    with empty_api.scenario.runtime.engine.begin() as connection:
        feed = issue_token(connection, get_hermes_feed(connection, "acme.laptop"), LATER)
    empty_api.refused(401, "token_refused", empty_api.get("/api/usage", token=feed, **DAY))
    headers = {"Authorization": f"Bearer {empty_api.tokens['acme']}"}
    empty_api.refused(401, "token_refused", empty_api.client.post("/api/ingest/hermes-usage", json={}, headers=headers))


def test_a_token_ends_when_it_expires_and_when_it_is_revoked(empty_api: Api) -> None:
    soon = empty_api.issue("acme", expires_at=LATER + timedelta(hours=1))
    revoked = empty_api.issue("acme")
    assert empty_api.get("/api/usage", token=soon, **DAY).status_code == 200
    empty_api.scenario.at(LATER + timedelta(hours=1))
    empty_api.refused(401, "token_refused", empty_api.get("/api/usage", token=soon, **DAY))
    assert empty_api.get("/api/usage", token=revoked, **DAY).status_code == 200
    with empty_api.scenario.runtime.engine.begin() as connection:
        revoke_read_token(connection, revoked[:14], empty_api.scenario.clock.now)
        changes = list_changes(connection, "acme")
        stored = connection.execute(sa.text("SELECT string_agg(t::text, ' ') FROM read_tokens AS t")).scalar_one()
    empty_api.refused(401, "token_refused", empty_api.get("/api/usage", token=revoked, **DAY))
    assert [one.what for one in changes][-1] == "read_token_revoked"
    assert "read_token_issued" in {one.what for one in changes}
    assert revoked[15:] not in f"{changes}{stored}"


def test_a_demo_is_shown_by_its_own_token_alone(empty_api: Api) -> None:
    with empty_api.scenario.runtime.engine.begin() as connection:
        add_workspace(connection, "sandbox", name=None, now=LATER, demo=True)
    (demo,) = empty_api.get("/api/workspaces", token=empty_api.issue("sandbox")).json()["workspaces"]
    assert (demo["slug"], demo["demo"]) == ("sandbox", True)
    empty_api.refused(403, "workspace_forbidden", empty_api.get("/api/usage", **DAY, workspace="sandbox"))
    assert "sandbox" not in empty_api.get("/api/workspaces").text


def test_a_token_may_ask_only_so_often(migrated_database: str, tmp_path: Any) -> None:
    with api_on(
        migrated_database, tmp_path, fill=two_empty_workspaces, settings=Settings(api_requests_per_minute=2)
    ) as api:
        statuses = [api.get("/api/workspaces").status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        refused = api.get("/api/workspaces")
        api.refused(429, "too_many_requests", refused)
        assert 1 <= int(refused.headers["Retry-After"]) <= 30
        assert api.get("/api/workspaces", "globex").status_code == 200  # each token has its own bucket
        with api.scenario.runtime.engine.begin() as connection:  # half a minute fills half of it
            connection.execute(sa.text("UPDATE read_token_uses SET filled_at = filled_at - interval '30 seconds'"))
        assert api.get("/api/workspaces").status_code == 200
        assert api.get("/api/workspaces").status_code == 429


@pytest.fixture
def browser(empty_api: Api) -> Iterator[httpx.Client]:
    """A client that keeps cookies, on the host of a company."""
    empty_api.client.base_url = "https://usage.acme.example"
    return empty_api.client


def login(client: Any, token: str, **headers: str) -> httpx.Response:
    return client.post("/login", json={"token": token}, headers=headers)


def test_a_session_opens_what_its_token_opens_until_it_ends(empty_api: Api, browser: Any) -> None:
    told = login(browser, empty_api.issue("acme", ["usage"]), Origin="https://usage.acme.example")
    assert told.status_code == 200, told.text
    cookie = told.headers["Set-Cookie"]
    assert cookie.startswith("__Host-usage_session=ups_")
    for flag in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", "Max-Age=43200"):
        assert flag in cookie
    assert (told.json()["workspace"], told.json()["scopes"]) == ("acme", ["usage"])
    assert browser.get("/api/usage", params=DAY).json()["workspace"] == "acme"
    assert browser.get("/api/session").json()["through"] == "session"
    empty_api.refused(403, "scope_missing", browser.get("/api/findings", params=DAY))
    other = browser.get("/api/usage", params=DAY, headers={"Authorization": f"Bearer {empty_api.tokens['globex']}"})
    assert other.json()["workspace"] == "globex"  # the token decides
    with empty_api.scenario.runtime.engine.connect() as connection:
        stored = connection.execute(sa.text("SELECT s::text FROM read_sessions AS s")).scalar_one()
    assert cookie.split("_")[-1].split(";")[0] not in stored
    secret = browser.cookies["__Host-usage_session"]
    tossed = browser.get("/api/session", headers={"Cookie": f"usage_session={secret}"})
    empty_api.refused(401, "token_refused", tossed)  # another host of the domain may have set that one
    assert browser.post("/logout", headers={"Origin": "https://usage.acme.example"}).status_code == 204
    assert "__Host-usage_session" not in browser.cookies
    empty_api.refused(401, "token_refused", browser.get("/api/usage", params=DAY))
    again = browser.get("/api/usage", params=DAY, headers={"Cookie": f"__Host-usage_session={secret}"})
    empty_api.refused(401, "token_refused", again)


def test_a_session_ends_by_itself_and_with_its_token(empty_api: Api, browser: Any) -> None:
    token = empty_api.issue("acme")
    assert login(browser, token).json()["ends_at"] == "2026-03-15T18:00:00Z"
    empty_api.scenario.at(LATER + timedelta(hours=12))
    empty_api.refused(401, "token_refused", browser.get("/api/session"))
    assert login(browser, token).status_code == 200
    with empty_api.scenario.runtime.engine.begin() as connection:
        revoke_read_token(connection, token[:14], empty_api.scenario.clock.now)
    empty_api.refused(401, "token_refused", browser.get("/api/session"))
    soon = empty_api.issue("acme", expires_at=LATER + timedelta(hours=13))
    assert login(browser, soon).json()["ends_at"] == "2026-03-15T19:00:00Z"


@pytest.mark.parametrize("host", ["localhost:8733", "127.0.0.1:8733", "[::1]:8733"])
def test_on_this_machine_the_cookie_needs_no_tls(empty_api: Api, host: str) -> None:
    cookie = login(empty_api.client, empty_api.tokens["acme"], Host=host).headers["Set-Cookie"]
    assert cookie.startswith("usage_session=ups_")
    assert "Secure" not in cookie


@pytest.mark.parametrize(
    ("status", "code", "sent"),
    [
        (403, "other_site", {"headers": {"Origin": "https://evil.example"}, "json": {"token": "x"}}),
        (403, "other_site", {"headers": {"Origin": "null"}, "json": {"token": "x"}}),
        (403, "other_site", {"headers": {"Sec-Fetch-Site": "cross-site"}, "json": {"token": "x"}}),
        (415, "content_type_unknown", {"data": {"token": "x"}}),
        (415, "content_type_unknown", {"json": {"token": "x"}, "headers": {"Content-Encoding": "gzip"}}),
        (400, "login_malformed", {"content": "{", "headers": {"Content-Type": "application/json"}}),
        (400, "login_malformed", {"json": {"token": 1}}),
        (413, "payload_too_large", {"json": {"token": "x" * 2000}}),
        (401, "token_refused", {"json": {"token": "upr_0123456789_" + "0" * 64}}),
    ],
)
def test_a_login_that_is_none_is_refused(api: Api, status: int, code: str, sent: dict[str, Any]) -> None:
    answer = api.client.post("/login", **sent)
    api.refused(status, code, answer)
    assert "Set-Cookie" not in answer.headers
