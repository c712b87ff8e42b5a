"""What the page's routes send, without a browser: headers, addresses, and nothing of a figure or of the reader."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from usage_pipeline.service.edge import Edge
from usage_pipeline.service.page import files, routes
from usage_pipeline.service.page.files import PLOTLY, page_files

COOKIE = {"Cookie": "usage_session=ups_0123456789_0"}
STATIC = Path(files.__file__).parent / "static"
FORBIDDEN = re.compile(r"https?://|\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|\beval\(|new Function")
ADDRESS = re.compile(r'(?:src|href|data-plotly)="([^"]+)"')


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """The page alone, without a store: it needs none."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Edge)
    routes.add_page(app)

    @app.get("/api/usage")
    async def usage() -> None: ...

    with TestClient(app, "http://127.0.0.1", follow_redirects=False, raise_server_exceptions=False) as made:
        yield made


def test_who_has_no_session_is_sent_to_the_login_with_what_they_wanted_to_see(client: TestClient) -> None:
    answer = client.get("/?by=user&model=a%26b")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?by=user&model=a%26b")
    assert client.get("/").headers["location"] == "/login"
    assert answer.headers["content-security-policy"] == routes.CONTENT_SECURITY_POLICY


def test_a_redirect_never_leaves_the_service(client: TestClient) -> None:
    for query in ("//evil.example", "next=https://evil.example", "%0d%0aSet-Cookie:%20a=b"):
        location = client.get(f"/?{query}").headers["location"]
        assert location.startswith("/login?")
        assert "\n" not in location


def test_a_link_from_another_site_reaches_the_page_since_its_cookie_stays_behind(client: TestClient) -> None:
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert client.get("/", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


@pytest.mark.parametrize("path", ["/", "/login"])
def test_a_document_lets_the_browser_run_and_ask_this_service_alone(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=COOKIE)
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert "://" not in policy
    assert "*" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    assert "{{" not in answer.text
    # What the policy would forbid is not there to be forbidden.
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", answer.text)


@pytest.mark.parametrize("path", ["/", "/login"])
def test_every_address_of_a_document_is_served_and_may_be_kept_for_ever(client: TestClient, path: str) -> None:
    found = ADDRESS.findall(client.get(path, headers=COOKIE).text)
    addresses = [one for one in found if not one.startswith("#")]
    assert len(addresses) >= 4
    for address in addresses:
        answer = client.get(address)
        assert re.fullmatch(r"/static/[0-9a-f]{16}/[\w.-]+", address)
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == files.MEDIA_TYPES[Path(address).suffix]


def test_a_document_is_sent_again_only_when_it_changed(client: TestClient) -> None:
    tag = client.get("/login").headers["etag"]
    answer = client.get("/login", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_nothing_of_a_request_is_in_the_answer(client: TestClient) -> None:
    plain = client.get("/", headers=COOKIE).content
    query = "/?model=%3Cscript%3Ealert(1)%3C/script%3E&x={{static}}"
    assert client.get(query, headers={**COOKIE, "User-Agent": "{{static}}<b>"}).content == plain
    assert client.get(f"/login{query[1:]}").content == client.get("/login").content


def test_what_is_put_into_a_document_stays_text() -> None:
    made = page_files().document("index.html", ['"><script>', "{{plotly}}"], ["/api/a&b"])
    assert "&quot;&gt;&lt;script&gt; {{plotly}}" in made
    assert "/api/a&amp;b" in made


def test_the_page_knows_what_this_release_answers(client: TestClient) -> None:
    text = client.get("/", headers=COOKIE).text
    assert 'data-paths="/api/usage"' in text
    assert re.search(r'data-dimensions="day workspace provider [^"]*\bapi_key\b', text)


def test_files_are_packed_for_who_takes_it(client: TestClient) -> None:
    made = page_files()
    address = f"/static/{made.plotly_digest}/{PLOTLY}"
    packed = client.get(address, headers={"Accept-Encoding": "gzip"})
    whole = client.get(address, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in whole.headers
    assert packed.headers["vary"] == whole.headers["vary"] == "Accept-Encoding"
    assert packed.content == whole.content  # the client unpacks
    assert gzip.decompress(made.files[made.plotly_digest, PLOTLY].packed) == whole.content


def test_a_file_that_is_not_of_this_release_is_refused_in_words(client: TestClient) -> None:
    digest = page_files().digest
    for address in (f"/static/{'0' * 16}/main.js", f"/static/{digest}/index.html", f"/static/{digest}/..%2froutes.py"):
        answer = client.get(address)
        assert answer.status_code == 404, address
    told = client.get(f"/static/{'0' * 16}/main.js").json()
    assert told == {"error": "No such file of the page. Load the page again.", "code": "file_unknown"}


def test_the_scripts_import_only_each_other_and_name_no_other_host() -> None:
    scripts = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}
    for name, text in scripts.items():
        assert set(re.findall(r'from "\./([^"]+)"', text)) <= set(scripts), name
        assert not FORBIDDEN.search(text), name
    assert "://" not in (STATIC / "page.css").read_text(encoding="utf-8")


def test_plotly_is_kept_from_writing_styles_into_the_page() -> None:
    made = page_files()
    assert re.fullmatch(r"[0-9a-f]{64}", made.plotly_map_style)
    assert f'id="{made.plotly_map_style}"' in made.document("index.html", [], [])
