"""``usage-pipeline parity``: a provider's own dashboard exports held against the store."""

from __future__ import annotations

import os
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from usage_pipeline.cli.days import read_range
from usage_pipeline.cli.failures import describe
from usage_pipeline.cli.output import print_json, print_note
from usage_pipeline.cli.store import opened
from usage_pipeline.clock import now
from usage_pipeline.errors import InvalidInputError
from usage_pipeline.settings import Settings

if TYPE_CHECKING:
    from usage_pipeline.parity.check import Asked, ParityReport
    from usage_pipeline.parity.windows import Window


class ParityExit(IntEnum):
    """The exit codes of this command: a failure of any kind is never taken for a difference."""

    EQUAL = 0
    DIFFERENT = 1
    FAILED = 2


def parity(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="CSV files as the dashboard exported them.")],
    provider: Annotated[
        str | None, typer.Option("--provider", help="Whose export it is, where it does not tell.")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="usage|cost", help="What is compared.")] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Which report, where names do not tell: text, …")
    ] = None,
    workspace: Annotated[str | None, typer.Option("--workspace", metavar="SLUG", help="Only keys of this one.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Which account was exported.")] = None,
    timezone: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="Of times without an offset; UTC if not stated.")
    ] = None,
    currency_unit: Annotated[
        str | None, typer.Option("--currency-unit", metavar="usd|cents", help="Of amounts, where nothing tells.")
    ] = None,
    from_day: Annotated[str | None, typer.Option("--from", metavar="DAY", help="The first UTC day.")] = None,
    to_day: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="The last UTC day, itself included.")
    ] = None,
    tolerance: Annotated[
        str, typer.Option("--tolerance", metavar="USD", help="What a row of a bill may differ by; exact by default.")
    ] = "0",
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="DIMENSION", help="Compare not by this one (repeatable).")
    ] = None,
    json_to: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write the full report here; - prints it alone.")
    ] = None,
) -> None:
    """Compare a provider's dashboard exports with the store. Exit code: 0 equal, 1 different, 2 failed."""
    try:
        asked = _asked(
            files,
            provider,
            kind,
            family,
            workspace,
            account,
            timezone,
            currency_unit,
            from_day,
            to_day,
            tolerance,
            without,
        )
        report = _compare(asked, json_to)
    except Exception as error:  # noqa: BLE001 - every failure is 2 here, since 1 means "different"
        failure = describe(error, os.environ)
        typer.echo(f"{failure.traceback}{failure.line}", err=True)
        raise typer.Exit(ParityExit.FAILED) from None
    raise typer.Exit(ParityExit.EQUAL if report.is_equal else ParityExit.DIFFERENT)


def _compare(asked: Asked, json_to: str | None) -> ParityReport:
    from usage_pipeline.parity.check import read_files, run_parity
    from usage_pipeline.providers.registry import providers

    settings = Settings.from_environment(os.environ)
    at = now(os.environ)
    exports = read_files(asked)
    speaking = {one.name: one for one in providers()}
    with (
        opened(os.environ, writes=True) as engine,
        # One snapshot: what covers a day and its rows are read at one instant, whatever is normalised meanwhile.
        engine.execution_options(isolation_level="REPEATABLE READ").begin() as connection,
    ):
        report = run_parity(connection, asked, exports, at, speaking, settings)
        # Within the transaction: a comparison whose outcome could not be written has failed, and leaves no trace.
        _print(report, json_to)
        return report


def _print(report: ParityReport, json_to: str | None) -> None:
    from usage_pipeline.cli.parity_tables import print_parity
    from usage_pipeline.parity.report import as_json

    if json_to == "-":
        print_json(as_json(report))
        return
    if json_to is not None:
        _write_json(report, Path(json_to))
    print_parity(report)
    if json_to is not None:
        print_note(f"the full report is in {json_to}")


def _write_json(report: ParityReport, path: Path) -> None:
    import json

    from usage_pipeline.parity.report import as_json

    try:
        with path.open("w", encoding="utf-8") as stream:
            json.dump(as_json(report), stream, indent=2, ensure_ascii=False)
            stream.write("\n")
    except OSError as error:
        raise InvalidInputError(
            "file_unwritable", error.strerror or type(error).__name__, where=str(path), remedy="Name another file."
        ) from None


def _asked(
    files: list[Path],
    provider: str | None,
    kind: str | None,
    family: str | None,
    workspace: str | None,
    account: str | None,
    timezone: str | None,
    currency_unit: str | None,
    from_day: str | None,
    to_day: str | None,
    tolerance: str,
    without: list[str] | None,
) -> Asked:
    from datetime import UTC
    from zoneinfo import ZoneInfo

    from usage_pipeline.ledger.slugs import check_part
    from usage_pipeline.parity.cells import read_amount
    from usage_pipeline.parity.check import Asked
    from usage_pipeline.parity.export_format import CurrencyUnit, Kind
    from usage_pipeline.parity.file_reading import ReadingRules
    from usage_pipeline.parity.registry import Stated

    if kind is not None and kind not in get_args(Kind):
        raise _usage("--kind", "is usage or cost")
    if currency_unit is not None and currency_unit not in get_args(CurrencyUnit):
        raise _usage("--currency-unit", "is usd or cents")
    if workspace is not None:
        check_part(workspace, where="--workspace")
    try:
        zone = None if timezone is None else UTC if timezone.upper() == "UTC" else ZoneInfo(timezone)
    except (ValueError, OSError, LookupError):
        raise _usage("--timezone", "is a name like Europe/Berlin") from None
    try:
        tolerance_usd = read_amount(tolerance)
    except ValueError:
        tolerance_usd = Decimal(-1)
    if tolerance_usd < 0:
        raise _usage("--tolerance", "is an amount in US dollars, like 0.005")
    return Asked(
        files=tuple(files),
        stated=Stated(provider, cast("Kind | None", kind), family),
        rules=ReadingRules(zone, cast("CurrencyUnit | None", currency_unit)),
        workspace=workspace,
        account=account,
        span=_span(from_day, to_day),
        tolerance_usd=tolerance_usd,
        without=frozenset(without or ()),
    )


def _span(from_day: str | None, to_day: str | None) -> Window | None:
    from usage_pipeline.parity.windows import Window
    from usage_pipeline.utc_days import day_start

    if from_day is None and to_day is None:
        return None
    if from_day is None or to_day is None:
        raise _usage("--from" if from_day is None else "--to", "is missing: give both days or none")
    days = read_range(from_day, to_day)
    return Window(int(day_start(days.first_day).timestamp()), int(day_start(days.end_day).timestamp()))


def _usage(option: str, what: str) -> InvalidInputError:
    return InvalidInputError("usage", f"{option} {what}", where="usage-pipeline parity", remedy="See --help.")
