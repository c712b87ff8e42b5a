"""OpenAI's completions report over a truth that a test writes down, with faults laid on chosen requests.

Written from the API's description: Unix seconds, repeated ``group_by``, ``limit`` buckets a page, the first bucket
clipped to the query's start and the last to its end, empty buckets answered, totals that hold their parts. In: the
truth, a present, faults by the number of the request. Out: answers for the loopback server.
"""

from __future__ import annotations

import enum
import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from usage_pipeline_tests.providers.loopback import Answer

WIDTH_S = {"1h": 3600, "1d": 86400}
LIMIT_MAX = {"1h": 168, "1d": 31}
DIMENSIONS = ("project_id", "user_id", "model")


class Fault(enum.Enum):
    """What goes wrong with one request. Those of the first group pass when the request is sent again."""

    SERVER_ERROR = "500"
    RATE_LIMITED = "429"
    RESET = "reset"
    CUT = "cut"

    HTML = "html"
    FORBIDDEN = "403"
    BUCKET_DROPPED = "a bucket is left out"
    BUCKET_DOUBLED = "a bucket comes twice"
    ENDS_EARLY = "has_more is false before the end"
    CURSOR_LOST = "has_more without a cursor"
    CURSOR_REPEATED = "the cursor leads back"
    COUNT_NEGATIVE = "a negative count"

    @property
    def passes(self) -> bool:
        return self in {Fault.SERVER_ERROR, Fault.RATE_LIMITED, Fault.RESET, Fault.CUT}


@dataclass(frozen=True)
class Use:
    """Tokens of one minute: ``cached`` of the ``input``, and ``output``; ``at_s`` is Unix seconds."""

    at_s: int
    project_id: str | None
    user_id: str | None
    model: str
    input: int
    cached: int
    output: int


Key = tuple[int, str | None, str | None, str | None]


@dataclass
class FaultyOpenAi:
    """The account. ``faults`` maps the number of a request (from 0, since :meth:`begin`) to what is wrong with it."""

    uses: list[Use] = field(default_factory=list)
    now: datetime = datetime(2026, 11, 1, tzinfo=UTC)
    faults: dict[int, Fault] = field(default_factory=dict)
    requests: int = 0
    faults_met: list[Fault] = field(default_factory=list)

    def begin(self, now: datetime, faults: dict[int, Fault]) -> None:
        """A new pull at ``now``."""
        self.now, self.faults, self.requests, self.faults_met = now, faults, 0, []

    def sums(self, start_s: int, end_s: int, width_s: int, asked: tuple[str, ...]) -> dict[Key, tuple[int, int, int]]:
        """What a complete pull of the range must say: (uncached, cached, output) by bucket and asked dimensions."""
        found: dict[Key, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
        for use in self.uses:
            if start_s <= use.at_s < min(end_s, int(self.now.timestamp())):
                values = [getattr(use, name) if name in asked else None for name in DIMENSIONS]
                key: Key = (use.at_s - use.at_s % width_s, values[0], values[1], values[2])
                uncached, cached, output = found[key]
                found[key] = (uncached + use.input - use.cached, cached + use.cached, output + use.output)
        return dict(found)

    def answer(self, target: str) -> Answer:
        """The answer to a GET."""
        number, self.requests = self.requests, self.requests + 1
        fault = self.faults.get(number)
        if fault is not None:
            self.faults_met.append(fault)
        parts = urlsplit(target)
        assert parts.path == "/v1/organization/usage/completions", parts.path
        query = parse_qs(parts.query)
        match fault:
            case Fault.SERVER_ERROR:
                return Answer(500, _error("The server had an error."))
            case Fault.RATE_LIMITED:
                return Answer(429, _error("Rate limit reached."), headers={"Retry-After": "1"})
            case Fault.FORBIDDEN:
                return Answer(403, _error("You have insufficient permissions."))
            case Fault.HTML:
                return Answer(body=b"<html>soon</html>", content_type="text/html")
            case Fault.RESET:
                return Answer(reset=True)
            case _:
                page = self._page(query, fault)
                if isinstance(page, str):
                    return Answer(400, _error(page))
                body = json.dumps(page).encode()
                return Answer(body=body, cut_after=len(body) // 2 if fault is Fault.CUT else None)

    def _page(self, query: dict[str, list[str]], fault: Fault | None) -> dict[str, Any] | str:
        width = query["bucket_width"][0]
        limit, width_s = int(query["limit"][0]), WIDTH_S[width]
        start_s, end_s = int(query["start_time"][0]), int(query["end_time"][0])
        if limit > LIMIT_MAX[width]:
            return f"Invalid limit provided: {limit}. Limit must be less than or equal to {LIMIT_MAX[width]}."
        if end_s > self.now.timestamp():
            return "end_time must not be in the future"
        asked = tuple(query.get("group_by", []))
        starts = [max(at, start_s) for at in range(start_s - start_s % width_s, end_s, width_s)]
        first = int(query.get("page", ["page_0"])[0].removeprefix("page_"))
        shown, rest = starts[first : first + limit], starts[first + limit :]
        buckets = [self._bucket(at, min(at - at % width_s + width_s, end_s), width_s, asked) for at in shown]
        cursor = f"page_{first + limit}" if rest else None
        has_more = cursor is not None
        if fault is Fault.BUCKET_DROPPED and buckets:
            del buckets[len(buckets) // 2]
        elif fault is Fault.BUCKET_DOUBLED and buckets:
            buckets.append(buckets[-1])
        elif fault is Fault.ENDS_EARLY:
            has_more, cursor = False, None
        elif fault is Fault.CURSOR_LOST:
            has_more, cursor = True, None
        elif fault is Fault.CURSOR_REPEATED:
            has_more, cursor = True, "page_0"
        elif fault is Fault.COUNT_NEGATIVE:
            for row in [row for bucket in buckets for row in bucket["results"]][:1]:
                row["output_tokens"] = -1
        return {"object": "page", "data": buckets, "has_more": has_more, "next_page": cursor}

    def _bucket(self, start_s: int, end_s: int, width_s: int, asked: tuple[str, ...]) -> dict[str, Any]:
        sums = self.sums(start_s, end_s, width_s, asked)
        return {
            "object": "bucket",
            "start_time": start_s,
            "end_time": end_s,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": uncached + cached,
                    "input_uncached_tokens": uncached,
                    "input_cached_tokens": cached,
                    "input_cache_write_tokens": 0,
                    "output_tokens": output,
                    "num_model_requests": 1,
                    **dict(zip(DIMENSIONS, key[1:], strict=True)),
                }
                for key, (uncached, cached, output) in sorted(sums.items(), key=repr)
            ],
        }


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "error", "param": None, "code": None}}).encode()
