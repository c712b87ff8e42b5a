"""What the page shows, and what happens when a reader chooses something."""

from __future__ import annotations

from typing import Any

import httpx
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from usage_pipeline_tests.reconcile.test_cuts import D
from usage_pipeline_tests.ui.browser import Browser
from usage_pipeline_tests.ui.conftest import ODD_MODEL, Served

DAY = {"from": D.isoformat(), "to": D.isoformat()}


def told(served: Served, path: str, **parameters: Any) -> Any:
    """What the API says of the same days."""
    headers = {"Authorization": f"Bearer {served.token()}"}
    answer = httpx.get(f"{served.url}{path}", params={**DAY, **parameters}, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def tokens(group: Any) -> str:
    return f"{sum(value or 0 for value in group['counted']['tokens'].values()):,}"


def test_every_part_shows_what_the_api_says(page: Browser, served: Served) -> None:
    usage = told(served, "/api/usage", group_by="model", order="cost")
    assert page.text("#tile-tokens .tile-value") == tokens(usage["totals"])
    shown = [one.text for one in page.all("#ranking tbody tr .name")]
    assert shown == [row["model"] for row in usage["rows"]][: len(shown)]
    exact = page.one("#tile-spend .tile-value").get_attribute("title")
    assert exact.removesuffix(" US dollars") == usage["totals"]["cost"]["counted"]["usd"]
    feeds = [one.text for one in page.all(".calendar tbody th")]
    assert feeds == [one["feed"] for one in told(served, "/api/coverage")["feeds"]]
    findings = told(served, "/api/findings")["findings"]
    assert {one.text for one in page.all(".findings .code")} == {one["code"] for one in findings}
    assert all(part in page.text("#explained") for part in ("Uncached input", "Unattributed", "Output"))


def test_it_asks_a_few_questions_and_none_twice(page: Browser) -> None:
    page.read_logs()
    asked = [one for one in page.requests if "/api/" in one]
    assert len(asked) == len(set(asked)) <= 9
    assert all(status == 200 for address, status in page.answered if "/api/" in address)


def test_what_is_provisional_is_hatched_and_said(page: Browser) -> None:
    assert "Hatched: provisional" in page.text("#plot-note")
    assert page.script("return document.querySelectorAll('#plot pattern').length") > 0
    assert "provisional" in page.text("#tile-spend")
    assert page.all(".calendar .cell.provisional")
    assert page.all(".calendar .cell.final")


def test_a_filter_changes_the_figures_and_the_address(page: Browser, served: Served) -> None:
    page.one('details[data-dimension="project"] summary').click()
    option = page.one('details[data-dimension="project"] input[value="proj_a"]')
    assert "Website" in page.text('details[data-dimension="project"] .values')
    option.click()
    page.settled()
    assert page.address() == f"/?from={D}&to={D}&project=proj_a"
    of_project = told(served, "/api/usage", project="proj_a")
    assert page.text("#tile-tokens .tile-value") == tokens(of_project["totals"])
    assert page.text("#chips") == "Project Website ×"
    assert "not under a filter by project" in page.text("#explained")
    page.one("#chips .chip").click()
    page.settled()
    assert page.address() == f"/?from={D}&to={D}"


def test_days_can_be_typed(page: Browser) -> None:
    last = page.one('input[aria-label="Last day"]')
    last.send_keys("03112026")
    page.until(lambda: page.address() == f"/?from={D}&to=2026-03-11")
    page.settled()
    assert page.driver.switch_to.active_element == last
    assert page.one('select[aria-label="Days"]').get_attribute("value") == ""


def test_an_exact_id_can_be_entered_that_is_not_listed(page: Browser) -> None:
    page.one('details[data-dimension="model"] summary').click()
    page.one('details[data-dimension="model"] input[type="search"]').send_keys("gpt-9", Keys.ENTER)
    page.settled()
    assert page.address().endswith("&model=gpt-9")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert page.one('details[data-dimension="model"]').get_attribute("open") is None


def test_back_and_forward_and_a_shared_address_show_the_same(page: Browser, served: Served) -> None:
    before = page.text("#ranking")
    page.choose("Stacked by", "project")
    page.choose("Measure", "output")
    assert page.address() == f"/?from={D}&to={D}&measure=output&by=project"
    after = page.text("#ranking")
    assert "Website" in after
    page.driver.back()
    page.driver.back()
    page.until(lambda: page.text("#ranking") == before)
    page.settled()
    page.open(f"/?from={D}&to={D}&measure=output&by=project")
    page.settled()
    assert page.text("#ranking") == after


def test_a_group_of_the_table_is_a_filter_by_keyboard_too(page: Browser) -> None:
    page.choose("Stacked by", "feed")
    [first, *_] = [one for one in page.all("#ranking tbody button") if one.text.startswith("acme.")]
    name = first.text
    first.send_keys(Keys.ENTER)
    page.settled()
    assert f"feed={name}" in page.address()
    assert page.driver.switch_to.active_element.text == name  # the focus stays where the reader is
    assert [one.text for one in page.all(".calendar tbody th")] == [name]


def test_a_bar_leads_to_its_rows_and_on_to_the_raw_page(page: Browser) -> None:
    page.open(f"/?from={D}&to={D}&by=project&project=proj_a")
    page.settled()
    bar = page.one("#plot .bars .point path")
    ActionChains(page.driver).move_to_element(bar).click().perform()
    page.until(lambda: bool(page.all("#rows tbody tr")))
    assert "Project Website" in page.text("#rows .card-head")
    rows = page.all("#rows tbody tr")
    assert any("1,000" in row.text or "700" in row.text for row in rows)
    page.one("#rows td button").click()
    page.until(lambda: "proj_a" in page.text("#raw .raw"))
    assert "Raw page" in page.text("#raw h2")
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.until(lambda: not page.one("#raw").is_displayed())
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.until(lambda: not page.one("#rows").is_displayed())


def test_the_chart_has_a_table_with_the_same_figures(page: Browser, served: Served) -> None:
    page.one("#plot-table summary").click()
    total = page.one("#plot-table tbody td.strong span").get_attribute("title")
    usage = told(served, "/api/usage")
    assert total.split(" ")[0] == usage["totals"]["cost"]["counted"]["usd"]


def test_the_calendar_moves_by_arrow_keys_and_says_what_stands(browser: Browser, served: Served) -> None:
    browser.log_in(served.token(), "/?from=2026-03-08&to=2026-03-12")
    cell = browser.one(".calendar td[data-row]")
    cell.send_keys(Keys.ARROW_RIGHT)
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    detail = browser.text("#coverage .detail")
    assert "Tue 10 Mar 2026" in detail
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    assert browser.text("#coverage .detail") != detail


def test_the_first_tab_leads_past_the_filters(page: Browser) -> None:
    page.script("document.activeElement.blur()")
    ActionChains(page.driver).send_keys(Keys.TAB).perform()
    assert page.driver.switch_to.active_element.text == "Skip to the figures"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.script("return document.activeElement.id") == "main"


def test_a_models_name_is_never_more_than_text(page: Browser) -> None:
    assert ODD_MODEL in page.text("#ranking")
    page.one("#plot-table summary").click()
    assert ODD_MODEL in page.one("#plot-table thead").text
    for bar in page.all("#plot .bars .point path")[-4:]:
        ActionChains(page.driver).move_to_element(bar).perform()
    assert page.script("return document.querySelectorAll('img[src=x]').length") == 0
    assert page.driver.title == "Usage – acme"


def test_the_theme_follows_the_system_until_the_reader_chooses(page: Browser) -> None:
    def background() -> str:
        found: str = page.script("return getComputedStyle(document.body).backgroundColor")
        return found

    def system(scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    system("light")
    light = background()
    system("dark")
    dark = background()
    assert dark != light
    page.one("#theme").click()
    assert (background(), page.text("#theme")) == (light, "Theme: light")
    page.driver.refresh()
    page.settled()
    assert background() == light
    system("light")


def test_nothing_is_wider_than_a_phone(page: Browser) -> None:
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.driver.refresh()
        page.settled()
        assert page.script("return document.documentElement.scrollWidth") <= 360
        page.one('details[data-dimension="model"] summary').click()
        page.one('details[data-dimension="model"] label')
        assert page.script("return document.documentElement.scrollWidth") <= 360
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_days_without_figures_say_where_there_are_some(browser: Browser, served: Served) -> None:
    browser.log_in(served.token(), "/?from=2026-01-01&to=2026-01-02")
    assert "Nothing counts from 1 Jan 2026 to 2 Jan 2026" in browser.text("#notice")
    browser.one("#notice button").click()
    browser.settled()
    assert browser.address() == "/"
    assert browser.text("#notice") == ""


def test_a_refusal_is_shown_in_the_apis_words_and_can_be_asked_again(page: Browser) -> None:
    page.script(
        "const real = window.fetch; let refused = 0;"
        "window.fetch = (address, options) => String(address).includes('group_by=user') && !refused++"
        " ? Promise.resolve(new Response(JSON.stringify({error: 'Come again in 7 seconds.', code: 'too_many'}),"
        " {status: 429, headers: {'Retry-After': '7'}})) : real(address, options)"
    )
    select = page.one('select[aria-label="Stacked by"]')
    page.script("arguments[0].value = 'user'; arguments[0].dispatchEvent(new Event('change'))", select)
    page.until(lambda: "Come again in 7 seconds." in page.text("#ranking"))
    assert page.text("#ranking button") == "Try again (in 7 s)"


def test_sums_are_exact_whatever_their_size(page: Browser) -> None:
    exact = page.module(
        "numbers.js",
        "[m.money(m.Decimal.of('0.1').plus(m.Decimal.of('0.2'))), m.money(m.Decimal.of('2.675')),"
        " m.money(m.Decimal.of('2.665')), m.money(m.Decimal.of('-1234567890123456789.005')),"
        " m.money(m.Decimal.of('0.004')), m.money(null), m.count(m.Decimal.of('9007199254740993')),"
        " m.exactJson('[9007199254740993,\"9007199254740993 \\\\\" 9007199254740993\",1.5]').map(String).join('|'),"
        " m.share(m.Decimal.of(1), m.Decimal.of(3)), m.Decimal.of('1').over(3, 4).text()]",
    )
    assert exact == [
        "$0.30",
        "$2.68",
        "$2.66",
        "−$1,234,567,890,123,456,789.00",
        "< $0.01",
        "–",
        "9,007,199,254,740,993",
        '9007199254740993|9007199254740993 " 9007199254740993|1.5',
        "33.3 %",
        "0.3333",
    ]


def test_the_forecast_follows_the_rule_of_the_budgets(page: Browser) -> None:
    # Seven ended days of 1 to 7 dollars before the 8th of a month of 30 days: 28, then 4 a day for 23 days.
    rows = (
        "[1,2,3,4,5,6,7].map((n) => ({day: `2026-11-0${n}`, provisional: n === 7, cost: {counted: {usd: String(n)}}}))"
    )
    known = "{newest: '2026-11-07', today: '2026-11-08', firstKnown: '2026-10-01'}"
    made = page.module(
        "month.js",
        f"((f) => [f.amount, f.toDate, f.provisional, f.mean].map((one) => Number(one.text())))"
        f"(m.forecast({rows}, {known}))",
    )
    assert made == [28 + 23 * 4, 28, 7, 4]


def test_what_is_left_of_a_day_is_its_total_less_its_stacks(page: Browser) -> None:
    body = (
        "(() => { const row = (model, usd, provisional) =>"
        " ({day: '2026-11-01', model, provisional, cost: {counted: {usd}}});"
        " const stacks = m.stacksOf({days: ['2026-11-01', '2026-11-02'], dimension: 'model', values: ['a', null],"
        " rows: [row('a', '0.1', false), row('a', '0.2', true), row(null, '1', false)],"
        " totals: [row('', '1.7', false), row('', '0.2', true)], measure: 'spend', hasRest: true});"
        " return stacks.map((one) => [one.final[0]?.text(), one.provisional[0]?.text(), one.final[1]]) })()"
    )
    assert page.module("series.js", body) == [["0.1", "0.2", None], ["1", None, None], ["0.6", None, None]]


def test_budgets_show_where_they_stand(page: Browser) -> None:
    one = (
        "{kind: 'project', value: 'proj_a', name: 'Website', period: '2026-03', state: 'warning', percent: '85.00',"
        " budget: {usd: '100'}, spent: {usd: '85'}, forecast: {usd: '120.5'}}"
    )
    page.module("month.js", f"m.showBudgets([{one}])")
    text = page.text("#budgets")
    assert text.splitlines() == [
        "Budgets",
        "Project Website",
        "2026-03",
        "warning",
        "$85.00 of $100.00, 85.00 %",
        "forecast $120.50, over the budget",
    ]
