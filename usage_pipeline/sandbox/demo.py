"""The demo: the whole way of the data on made-up usage, through Dagster, into the store that ``make dev`` shows.

It registers a workspace ``demo`` with an OpenAI key, an Anthropic key and a Hermes feed, backfills the 30 closed days
before today, and prints what counts and why. It is the same code that real keys take; only the hosts are the sandbox's,
and the workspace is marked so that its figures never stand among real ones. Running it again changes nothing.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import httpx
from sqlalchemy import Connection

from usage_pipeline.cli.output import print_table
from usage_pipeline.cli.report_tables import print_findings
from usage_pipeline.clock import now as clock_now
from usage_pipeline.credentials.registration import KeyRequest, register_key
from usage_pipeline.credentials.secret import Secret
from usage_pipeline.credentials.vault import KeyRingSource
from usage_pipeline.hermes.inbox import receive
from usage_pipeline.ledger.hermes_feeds import HermesFeed, add_hermes_feed, find_hermes_feed
from usage_pipeline.ledger.provider_keys import find_provider_key, key_slug, set_base_url, store_account
from usage_pipeline.ledger.stored_rows import StoredTable, rows_in_all, superseded_in_all
from usage_pipeline.ledger.workspaces import Workspace, add_workspace, find_workspace
from usage_pipeline.orchestration.backfill import run_backfill
from usage_pipeline.orchestration.backfill_outcome import BackfillOutcome
from usage_pipeline.providers.registry import provider
from usage_pipeline.reconcile.report import build_report
from usage_pipeline.sandbox.anthropic_directory import ORGANISATION_ID as ANTHROPIC_ORGANISATION_ID
from usage_pipeline.sandbox.faces import DEFAULT_ANTHROPIC_KEY, DEFAULT_OPENAI_KEY
from usage_pipeline.sandbox.hermes_payload import hermes_payload
from usage_pipeline.sandbox.organisations import OPENAI_ORGANISATION_ID
from usage_pipeline.sandbox.server import SandboxServer
from usage_pipeline.sandbox.world import World
from usage_pipeline.stages import Runtime, open_runtime

WORKSPACE = "demo"
DAYS = 30
SEED = 7
PORT = 18923
"""Where the sandbox listens if it can, so that ``make dev`` finds the keys' provider again."""

_KEYS = {"openai": DEFAULT_OPENAI_KEY, "anthropic": DEFAULT_ANTHROPIC_KEY}
_ORGANISATIONS = {"openai": OPENAI_ORGANISATION_ID, "anthropic": ANTHROPIC_ORGANISATION_ID}
_FEED = "laptop"
_TABLES: Final[tuple[StoredTable, ...]] = ("usage_events", "billed_costs", "reconciled_usage")


@dataclass(frozen=True, slots=True)
class _Addresses:
    """Base URLs of the sandbox by provider."""

    openai: str
    anthropic: str

    def of(self, name: str) -> str:
        """The base URL for a provider."""
        return self.openai if name == "openai" else self.anthropic


def run_demo(environ: Mapping[str, str], now: datetime, print_line: Callable[[str], None]) -> None:
    """Run the demo as of ``now`` and print its result. Raises ``backfill_incomplete`` if a stage failed."""
    started = time.monotonic()
    end_day = now.astimezone(UTC).date()
    first_day = end_day - timedelta(days=DAYS)
    took: dict[str, float] = {}
    with open_runtime(environ) as runtime:
        took["start PostgreSQL"] = time.monotonic() - started
        world = World(SEED, lambda: clock_now(environ))
        with _sandbox(world) as addresses:
            mark = time.monotonic()
            before = _stored(runtime)
            _register(runtime, addresses, now)
            _post_hermes_batch(runtime, world, end_day, now)
            took["register and post the Hermes batch"] = time.monotonic() - mark
            slugs = [key_slug(WORKSPACE, name, "main") for name in _KEYS]
            outcome = run_backfill(runtime.settings, environ, first_day, end_day, slugs, print_line)
        with runtime.engine.begin() as connection:
            report = build_report(connection, first_day, end_day, WORKSPACE, now)
        after = _stored(runtime)
    took.update(outcome.stage_seconds())
    _print_totals(report)
    _print_checks(outcome)
    print_findings(report)
    _print_times(took, outcome.seconds, time.monotonic() - started)
    _print_changes(before, after, print_line)
    for line in _next_steps(first_day, end_day):
        print_line(line)
    outcome.raise_if_failed()


def _stored(runtime: Runtime) -> dict[str, int]:
    """How many rows stand, by table, and how many versions were superseded."""
    with runtime.engine.connect() as connection:
        standing: dict[str, int] = {table: rows_in_all(connection, table) for table in _TABLES}
        return {**standing, "superseded versions": superseded_in_all(connection)}


def _print_changes(before: Mapping[str, int], after: Mapping[str, int], print_line: Callable[[str], None]) -> None:
    new = {what: after[what] - before[what] for what in after}
    if any(new.values()):
        told = ", ".join(f"{count:+,} {what}" for what, count in new.items())
        print_line(f"This run changed the number of rows by: {told}.")
    else:
        print_line("This run changed nothing: every answer was the same as before.")


@contextmanager
def _sandbox(world: World) -> Iterator[_Addresses]:
    """The sandbox: the one that ``make dev`` runs already, else one of our own for as long as the block lasts."""
    here = f"http://127.0.0.1:{PORT}"
    if _is_sandbox(here):
        yield _Addresses(f"{here}/v1", here)
        return
    server = SandboxServer(world, port=PORT if _is_free(PORT) else 0)
    with server:
        yield _Addresses(server.openai_base_url, server.anthropic_base_url)


def _is_sandbox(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_sandbox/requests", timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _is_free(port: int) -> bool:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _register(runtime: Runtime, addresses: _Addresses, now: datetime) -> None:
    """Register the workspace and its keys where they are not there yet; point the keys at the sandbox."""
    rings = KeyRingSource(runtime.environ, runtime.home)
    with runtime.engine.begin() as connection:
        workspace = find_workspace(connection, WORKSPACE)
        if workspace is None:
            workspace = add_workspace(connection, WORKSPACE, name="Demo (made-up usage)", now=now, demo=True)
        for name, secret in _KEYS.items():
            known = find_provider_key(connection, key_slug(WORKSPACE, name, "main"))
            if known is not None:
                set_base_url(connection, known, addresses.of(name), now)
                if known.account != _ORGANISATIONS[name]:
                    store_account(connection, known, _ORGANISATIONS[name], now, stated=True, told=None)
                continue
            request = KeyRequest(
                WORKSPACE,
                provider(name),
                "main",
                "admin",
                Secret(secret),
                organization=_ORGANISATIONS[name],
                base_url=addresses.of(name),
            )
            register_key(connection, request, rings, runtime.environ, now)
        _feed(connection, workspace, now)


def _feed(connection: Connection, workspace: Workspace, now: datetime) -> HermesFeed:
    known = find_hermes_feed(connection, f"{WORKSPACE}.{_FEED}")
    return known or add_hermes_feed(connection, workspace, _FEED, "production", days_back=DAYS, now=now)


def _post_hermes_batch(runtime: Runtime, world: World, end_day: date, now: datetime) -> None:
    """The plugin's batch of the last closed day: the same whenever it is made today, so that it arrives once."""
    generated_at = datetime.combine(end_day, datetime.min.time(), UTC) - timedelta(seconds=1)
    body = json.dumps(hermes_payload(world, generated_at, DAYS)).encode()
    with runtime.engine.begin() as connection:
        feed = find_hermes_feed(connection, f"{WORKSPACE}.{_FEED}")
        assert feed is not None
        receive(connection, feed, body, now)


_GROUPS = {
    "reported_by_provider": "provider says",
    "reported_by_hermes": "Hermes says",
    "counted": "counted",
    "explained": "explained",
    "unattributed": "unattributed",
    "excess": "excess",
    "stand_in": "stand-in",
}


def _print_totals(report: Mapping[str, Any]) -> None:
    """Tokens by provider and model: what each source says, what counts, and how both sides share it."""
    tokens: dict[tuple[str, str, str], dict[str, int | None]] = defaultdict(lambda: dict.fromkeys(_GROUPS))
    cost: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    lines: dict[str, Decimal] = defaultdict(Decimal)
    for row in report["rows"]:
        usd = Decimal(row["cost"]["counted"]["usd"] or 0)
        if row["family"] == "billed_line":
            lines[row["provider"]] += usd
            continue
        name = (row["provider"], row["model"] or f"({row['family']})", row["route"])
        cost[name] += usd
        for group in _GROUPS:
            known = [value for value in row[group]["tokens"].values() if value is not None]
            if known:
                tokens[name][group] = (tokens[name][group] or 0) + sum(known)
    rows = [
        (*name, *(_shown(figures[group]) for group in _GROUPS), f"{cost[name]:,.2f}")
        for name, figures in sorted(tokens.items())
    ]
    rows += [
        (name, "(bill without a model)", "account", *("–" for _ in _GROUPS), f"{usd:,.2f}")
        for name, usd in sorted(lines.items())
    ]
    total = {group: sum(figures[group] or 0 for figures in tokens.values()) for group in _GROUPS}
    billed = sum(cost.values(), Decimal(0)) + sum(lines.values(), Decimal(0))
    rows.append(("total", "", "", *(_shown(total[group]) for group in _GROUPS), f"{billed:,.2f}"))
    print_table(
        f"Tokens, {report['from']} to {report['to']} (UTC days, both included)",
        ("provider", "model", "route", *_GROUPS.values(), "counted USD"),
        rows,
        right=(*_GROUPS.values(), "counted USD"),
    )


def _shown(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _print_checks(outcome: BackfillOutcome) -> None:
    print_table(
        "Checks that ran",
        ("asset", "check", "kind", "result", "partitions passed", "failed", "first failure"),
        [
            (
                check.asset,
                check.name,
                "blocking" if check.blocking else "warning",
                "passed" if check.passed else "FAILED" if check.severity == "error" else "warns",
                str(check.partitions_passed),
                str(check.partitions_failed),
                check.first or "",
            )
            for check in outcome.checks
        ],
        right=("partitions passed", "failed"),
    )


def _print_times(took: Mapping[str, float], backfill: float, whole: float) -> None:
    rows = [(name, f"{seconds:.2f}") for name, seconds in took.items()]
    in_stages = sum(seconds for name, seconds in took.items() if not name.startswith(("start", "register")))
    rows.append(("Dagster around the stages", f"{max(0.0, backfill - in_stages):.2f}"))
    rows.append(("all", f"{whole:.2f}"))
    print_table("Time", ("stage", "seconds"), rows, right=("seconds",))


def _next_steps(first_day: date, end_day: date) -> Iterator[str]:
    last_day = end_day - timedelta(days=1)
    yield "Next:"
    yield "  make dev                      Dagster's UI on this very data, http://127.0.0.1:3000"
    yield f"  .venv/bin/usage-pipeline report --from {first_day} --to {last_day} --workspace {WORKSPACE}"
    yield "  .venv/bin/usage-pipeline keys add --help   the first real key"
