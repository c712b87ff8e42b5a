"""``GET /metrics`` as a scraper meets it: open on loopback, behind a token elsewhere, right whoever did the work."""

from __future__ import annotations

import json

import httpx

from usage_pipeline_tests.service.conftest import Install, Service, Start
from usage_pipeline_tests.service.test_service import PAYLOAD


def _scrape(service: Service, token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{service.url.replace('0.0.0.0', '127.0.0.1')}/metrics", headers=headers, timeout=30)


def test_on_loopback_without_a_token_it_is_open(service: Service, laptop: Install) -> None:
    assert service.post(PAYLOAD, laptop.token).status_code == 200
    answer = _scrape(service)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'usage_pipeline_hermes_batches_total{outcome="accepted"} 1.0' in answer.text


def test_with_a_token_it_is_asked_for(start: Start) -> None:
    service = start(USAGE_METRICS_TOKEN="scrape-me-canary")
    assert _scrape(service, "scrape-me-canary").status_code == 200
    for wrong in (None, "scrape-me", "scrape-me-canary2"):
        refused = _scrape(service, wrong)
        assert (refused.status_code, refused.json()["code"]) == (401, "token_refused")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    service.stop()
    assert service.collecting is not None
    service.collecting.join(30)
    assert "scrape-me" not in "".join(service.log)


def test_beyond_loopback_without_a_token_it_is_closed(start: Start) -> None:
    refused = _scrape(start(host="0.0.0.0"))
    assert (refused.status_code, refused.json()["code"]) == (403, "metrics_closed")


def test_a_log_in_json_is_one_object_a_line_with_the_batch(start: Start, laptop: Install) -> None:
    service = start(USAGE_LOG_FORMAT="json")
    assert service.post(PAYLOAD, laptop.token).status_code == 200
    assert service.stop() == 0
    assert service.collecting is not None
    service.collecting.join(30)
    events = [json.loads(line) for line in service.log]
    (event,) = [one for one in events if one.get("path") == "/api/ingest/hermes-usage"]
    assert (event["status"], event["feed"], event["level"]) == (200, laptop.feed.slug, "info")
    assert event["note"].startswith("batch ")
