"""A made-up day of OpenAI completions, the same bytes for the same seed.

In comes the number of result rows and, for a restated day, which rows are told differently; out come the bodies of the
pages, one for each of the day's 24 hours, as the organisation usage API answers them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from bench.figures import DAY

HOURS = 24
_MIDNIGHT = int(datetime.combine(DAY, time(), UTC).timestamp())
_MODELS = (
    "gpt-5-2025-08-07",
    "gpt-5-mini-2025-08-07",
    "gpt-5-nano-2025-08-07",
    "gpt-4.1-2025-04-14",
    "gpt-4.1-mini-2025-04-14",
    "gpt-4o-2024-08-06",
    "gpt-4o-mini-2024-07-18",
    "o4-mini-2025-04-16",
)
_TIERS = ('"default"', '"default"', '"default"', '"flex"', '"priority"', "null")
_ROW = (
    '{"object":"organization.usage.completions.result","input_tokens":%d,"output_tokens":%d,"num_model_requests":%d,'
    '"input_uncached_tokens":%d,"input_cached_tokens":%d,"input_cache_write_tokens":%d,"input_text_tokens":%d,'
    '"input_audio_tokens":0,"input_image_tokens":%d,"input_cached_text_tokens":%d,"input_cached_audio_tokens":0,'
    '"input_cached_image_tokens":0,"output_text_tokens":%d,"output_audio_tokens":0,"output_image_tokens":0,%s}'
)


@dataclass(frozen=True, slots=True)
class MadeUpDay:
    """A day's content: ``rows`` result rows over 24 hours, drawn with ``seed``.

    ``models`` is the number of distinct models; beyond the well-known ones they are fine-tuned. One row in
    ``restated_every`` has more output (0: none has); in ``restated_hour`` it is a hundredth of the day's rows.
    """

    rows: int
    seed: int = 20260401
    models: int = len(_MODELS)
    restated_every: int = 0
    restated_hour: int | None = None

    def restated(self, *, every: int = 0, hour: int | None = None) -> MadeUpDay:
        """The same day as a later answer tells it."""
        return replace(self, restated_every=every or self.restated_every, restated_hour=hour)


def page_bodies(day: MadeUpDay) -> Iterator[bytes]:
    """The pages, oldest hour first; each but the last names the next by its hour."""
    dimensions = _dimensions(day)
    draw = random.Random(f"{day.seed} rows")
    position = 0
    for hour in range(HOURS):
        count = day.rows * (hour + 1) // HOURS - day.rows * hour // HOURS
        # About half of the organisation's users, keys and models are at work in an hour.
        rows = [
            _row(draw, text, _restated(day, hour, position, n)) for n, text in enumerate(draw.sample(dimensions, count))
        ]
        position += count
        start = _MIDNIGHT + hour * 3600
        follows = f'true,"next_page":"{hour + 1}"' if hour + 1 < HOURS else 'false,"next_page":null'
        yield (
            f'{{"object":"page","data":[{{"object":"bucket","start_time":{start},"end_time":{start + 3600},'
            f'"results":[{",".join(rows)}]}}],"has_more":{follows}}}'
        ).encode()


def _dimensions(day: MadeUpDay) -> list[str]:
    draw = random.Random(f"{day.seed} dimensions")
    models = [*_MODELS, *(f"ft:gpt-4o-mini-2024-07-18:acme:team:{n:08x}" for n in range(day.models - len(_MODELS)))]
    return [
        f'"project_id":"proj_{n % 97:024d}","user_id":"user-{n % 2003:024d}","api_key_id":"key_{n:016d}",'
        f'"model":"{models[n % len(models)]}","batch":{draw.choice(("false", "false", "true"))},'
        f'"service_tier":{draw.choice(_TIERS)}'
        for n in range(2 * day.rows // HOURS + HOURS)
    ]


def _restated(day: MadeUpDay, hour: int, rows_before: int, n: int) -> int:
    every = bool(day.restated_every) and (rows_before + n) % day.restated_every == 0
    return int(every) + 2 * int(hour == day.restated_hour and n < -(-day.rows // 100))


def _row(draw: random.Random, dimensions: str, more_output: int) -> str:
    number = draw.random
    text, cached, image = int(number() * 90_000), int(number() * 60_000), int(number() * 40) * 100
    written = int(number() * 4_000) if number() < 0.2 else 0
    output = int(number() * 20_000) + more_output
    uncached = text + image
    return _ROW % (
        uncached + cached + written,
        output,
        1 + int(number() * 200),
        uncached,
        cached,
        written,
        text,
        image,
        cached,
        output,
        dimensions,
    )
