"""Logging in and out, and what a session's cookie may do."""

from __future__ import annotations

from typing import Any

from usage_pipeline.ledger.read_tokens import revoke_read_token
from usage_pipeline_tests.service.api_world import LATER
from usage_pipeline_tests.ui.browser import Browser
from usage_pipeline_tests.ui.conftest import Served


def test_without_a_session_there_is_the_login_and_no_figure(browser: Browser) -> None:
    browser.open("/?by=project")
    assert browser.address() == "/login?by=project"
    browser.one("#token")
    browser.read_logs()
    assert not [one for one in browser.requests if "/api/" in one]


def test_a_login_leads_to_where_the_reader_wanted_to_go(browser: Browser, served: Served) -> None:
    browser.log_in(served.token(), "/?by=project&measure=tokens")
    assert browser.address() == "/?by=project&measure=tokens"
    assert browser.text("#workspace") == "acme"


def test_the_session_is_in_a_cookie_that_no_script_reads_and_no_other_site_sends(page: Browser) -> None:
    [cookie] = page.driver.get_cookies()
    assert cookie["name"] == "usage_session"
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert cookie["secure"] is False  # loopback; Secure elsewhere is tested with the API
    assert page.script("return document.cookie") == ""
    kept = page.script("return JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert "upr_" not in kept + page.driver.current_url


def test_a_wrong_token_is_refused_in_words(browser: Browser) -> None:
    browser.one("#token").send_keys("upr_0123456789_" + "0" * 64)
    browser.one("#login button").click()
    browser.until(lambda: bool(browser.text("#problem")))
    assert browser.text("#problem") == "This token opens nothing: it is unknown, expired or revoked. Ask for a new one."
    assert browser.address() == "/login"
    browser.read_logs()
    assert len(browser.console) == 1
    assert "401" in browser.console[0]  # Chromium notes every refused request itself
    browser.forget_logs()


def test_after_logging_out_nothing_is_left_to_see(page: Browser) -> None:
    page.one("#logout").click()
    page.until(lambda: page.address() == "/login")
    assert page.driver.get_cookies() == []
    page.open("/")
    page.until(lambda: page.address() == "/login")


def test_a_session_whose_token_is_revoked_ends_in_the_login(browser: Browser, served: Served) -> None:
    token = served.token()
    browser.log_in(token)
    with served.scenario.runtime.engine.begin() as connection:
        revoke_read_token(connection, token[:14], LATER)
    browser.driver.refresh()
    browser.until(lambda: browser.address() == "/login")
    assert browser.text("#problem") == "Your session has ended. Log in again."
    browser.forget_logs()  # the refused requests


def test_a_token_without_scopes_sees_what_it_may_and_is_told_of_the_rest(browser: Browser, served: Served) -> None:
    browser.log_in(served.token(scopes=["usage"]))
    assert "no scope findings" in browser.text("#findings")
    browser.one("#plot-table summary").click()
    browser.one("#plot-table td button").click()
    browser.until(lambda: "no scope events" in browser.text("#rows"))


def test_another_workspace_is_not_to_be_seen(browser: Browser, served: Served) -> None:
    browser.log_in(served.token("globex"), "/?by=project")
    assert "proj_globex" in browser.text("#ranking")
    assert "proj_a" not in browser.text("main")


def test_an_empty_workspace_says_what_to_do_next(browser: Browser, served: Served) -> None:
    browser.log_in(served.token("empty"))
    assert "usage-pipeline keys add" in browser.text("#notice")
    assert "usage-pipeline hermes add-feed" in browser.text("#coverage")


def headers_of(browser: Browser, path: str) -> dict[str, Any]:
    found: dict[str, Any] = browser.driver.execute_async_script(
        "const done = arguments[1]; fetch(arguments[0]).then((a) => done(Object.fromEntries(a.headers)))", path
    )
    return found


def test_the_browser_is_held_to_the_policy(page: Browser) -> None:
    policy = headers_of(page, "/")["content-security-policy"]
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    ran = page.script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.head.append(s); return window.ran ?? null"
    )
    assert ran is None
    page.read_logs()
    assert len(page.console) == 1
    assert "Content Security Policy" in page.console[0]
    page.forget_logs()
