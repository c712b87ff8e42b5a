"""A headless Chromium as the tests drive it, with what it asked for and what it complained about."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.chrome.service import Service as DriverService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

SECONDS_MAX = 30
PROGRAMS = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "chromedriver": ("chromedriver",)}


def missing_programs() -> list[str]:
    """What the tests need and this machine lacks."""
    return [name for name, names in PROGRAMS.items() if _path(names) is None]


@dataclass
class Browser:
    """One window. ``url`` is the service's address; ``answered`` are the responses, by address and status."""

    driver: webdriver.Chrome
    url: str
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    answered: list[tuple[str, int]] = field(default_factory=list)

    def open(self, path: str = "/") -> None:
        self.driver.get(self.url + path)

    def log_in(self, token: str, path: str = "/") -> None:
        """Through the form, and wait until everything is shown."""
        self.open(path)
        self.one("#token").send_keys(token)
        self.one("#login button").click()
        self.settled()

    def settled(self) -> None:
        """Wait until no part of the page waits for an answer, and the chart is drawn."""
        self.until(lambda: bool(self.all("#plot .main-svg")) and not self.all("[aria-busy=true]"))

    def until(self, done: Callable[[], bool]) -> None:
        WebDriverWait(self.driver, SECONDS_MAX, poll_frequency=0.05).until(lambda _: done())

    def one(self, selector: str) -> WebElement:
        """The first such element, as soon as there is one."""
        self.until(lambda: bool(self.all(selector)))
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def choose(self, label: str, value: str) -> None:
        """An option of a select, by the select's name for people; then wait."""
        Select(self.one(f'select[aria-label="{label}"]')).select_by_value(value)
        self.settled()

    def script(self, body: str, *arguments: Any) -> Any:
        return self.driver.execute_script(body, *arguments)

    def module(self, name: str, body: str) -> Any:
        """What ``body``, an expression about the module ``m`` of the page, is."""
        address = self.one('script[type="module"]').get_attribute("src").rsplit("/", 1)[0]
        return self.driver.execute_async_script(
            f"const done = arguments[0]; import('{address}/{name}').then((m) => done({body}), (e) => done(String(e)))"
        )

    def address(self) -> str:
        """Path and query of what is shown."""
        parts = urlsplit(self.driver.current_url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def read_logs(self) -> None:
        """Take over what the browser noted since the last time."""
        noted = self.driver.get_log("browser")
        self.console += [one["message"] for one in noted if one["level"] in {"SEVERE", "WARNING"}]
        for one in self.driver.get_log("performance"):
            message = json.loads(one["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.responseReceived":
                response = message["params"]["response"]
                self.answered.append((response["url"], response["status"]))

    def forget_logs(self) -> None:
        self.read_logs()
        self.console.clear()
        self.requests.clear()
        self.answered.clear()


@contextmanager
def chromium(url: str) -> Iterator[Browser]:
    """A browser for the service at ``url``. It finds no other host, whatever a page wants."""
    options = webdriver.ChromeOptions()
    binary, driver_path = (_path(names) for names in PROGRAMS.values())
    assert binary is not None
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--window-size=1440,1000",
        "--lang=en-US",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=DriverService(driver_path))
    try:
        yield Browser(driver, url)
    finally:
        driver.quit()


def _path(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)
