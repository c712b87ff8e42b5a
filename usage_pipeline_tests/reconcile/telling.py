"""A story in words, so that a failing example can be read.

In: a :class:`histories.Story`. Out: text, an arrival a line, and what it held below it.
"""

from __future__ import annotations

from usage_pipeline_tests.reconcile.histories import Story
from usage_pipeline_tests.reconcile.naive_history import Batch, Feed, Key, Line, Pull


def story_in_words(story: Story) -> str:
    """What was registered, and what came in when."""
    history = story.history
    return "\n".join(
        [
            f"{history.provider}, {story.days[0]} to {story.days[-1]}; policy {story.first_policy} until the last"
            f" arrival, then {history.policy}; reconciled at {history.now:%Y-%m-%d %H:%M:%S}",
            *(_key(key) for key in history.keys),
            *(_feed(feed) for feed in history.feeds),
            *(line for pull in history.pulls for line in _pull(pull)),
            *(line for batch in history.batches for line in _batch(batch)),
        ]
    )


def _key(key: Key) -> str:
    scope = "one standard key" if key.standard else ", ".join(key.projects) or "the whole account"
    switched = "".join(f"; {'on' if on else 'off'} from {day}" for day, on in key.enabled)
    return f"key {key.name}: {scope} of {key.account}, route {key.route}, {key.grain}{switched}"


def _feed(feed: Feed) -> str:
    bills_to = "".join(f"; from {day} bills to {route}" for day, route in feed.bills_to)
    return (
        f"feed {feed.name}: {feed.environment}, {'counts' if feed.counts else 'does not count'},"
        f" days back {feed.days_back}{bills_to}"
    )


def _pull(pull: Pull) -> list[str]:
    return [
        f"{pull.started_at:%m-%d %H:%M:%S} {pull.key} is asked for {'costs' if pull.costs else 'usage'} of"
        f" {pull.first_day:%m-%d} to before {pull.end_day:%m-%d}: {'answers' if pull.complete else 'fails'}",
        *(f"    {_line(line)}" for line in pull.lines),
        *(f"    {bill.day:%m-%d} {bill.words}: {bill.usd} USD" for bill in pull.bills),
    ]


def _batch(batch: Batch) -> list[str]:
    covers = f" covers {batch.stated[0]:%m-%d} to before {batch.stated[1]:%m-%d}," if batch.stated else ""
    hours = "hours of calls" if batch.call_time else "hours of sessions"
    missing = "" if len(batch.hours) == len(batch.days) else ", one missing"
    return [
        f"{batch.generated_at:%m-%d %H:%M:%S} {batch.feed} says (v{batch.version}):{covers} {hours}{missing}",
        *(f"    {_line(line)}" for line in batch.days),
    ]


def _line(line: Line) -> str:
    of = " ".join(part for part in (line.route or "nobody says who billed", line.project, line.api_key) if part)
    figures = ", ".join(f"{name} {value}" for name, value in line.figures.items() if value)
    amounts = (("estimated", line.estimated), ("actual", line.actual))
    costs = "".join(f", {name} {value} USD" for name, value in amounts if value is not None)
    return f"{line.at:%m-%d %H:%M} {line.model} ({of}): {figures or 'zeros'}{costs}"
