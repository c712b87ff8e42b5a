"""The commands: ``sync``, ``doctor``, ``show-config``.

Belongs here: arguments, what is printed, the exit status. In: arguments, from Hermes or from ``python -m``. Out: text
or, with ``--json``, one JSON object on standard output; errors in one line on standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from .config import load_config
from .delivery import Waiting
from .doctor import Diagnosis, diagnose
from .errors import Exit, PluginError
from .payload import Json, encode_json
from .sync import Sent, SyncResult, sync
from .version import PLUGIN_VERSION


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Hermes passes the parser of ``hermes usage-pipeline``."""
    parser.set_defaults(usage_pipeline_parser=parser)
    commands = parser.add_subparsers(dest="usage_pipeline_command", metavar="COMMAND")
    command = commands.add_parser("sync", help="read state.db and report what changed")
    command.add_argument("--dry-run", action="store_true", help="show what would be sent; send and write nothing")
    command.add_argument("--full", action="store_true", help="report all days of the window, changed or not")
    command.add_argument("--quiet", action="store_true", help="print nothing when all is well")
    command.add_argument("--json", action="store_true", help="print JSON")
    command = commands.add_parser("doctor", help="check the database, the ledger, the settings and the server")
    command.add_argument("--send", action="store_true", help="also send a heartbeat, to try the token")
    command.add_argument("--json", action="store_true", help="print JSON")
    command = commands.add_parser("show-config", help="show each setting and where it comes from, never the token")
    command.add_argument("--json", action="store_true", help="print JSON")


def run_command(args: argparse.Namespace) -> int:
    """Hermes calls this with the parsed arguments. Returns 0, else exits with the status: some Hermes versions
    ignore a handler's return value, and cron would take a failure for a success."""
    if status := _run(args):
        sys.exit(status)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The same commands without Hermes."""
    parser = argparse.ArgumentParser(prog="usage-pipeline-hermes", description="Report Hermes' token usage.")
    parser.add_argument("--version", action="version", version=PLUGIN_VERSION)
    add_commands(parser)
    return _run(parser.parse_args(arguments))


def _run(args: argparse.Namespace) -> int:
    command: str | None = args.usage_pipeline_command
    if command is None:
        args.usage_pipeline_parser.print_help(sys.stderr)
        return Exit.CONFIGURATION
    try:
        if command == "sync":
            return _sync(args)
        if command == "doctor":
            return _doctor(args)
        return _show_config(args)
    except PluginError as error:
        if args.json:
            _print_json({"ok": False, "error": {"code": error.code, "what": error.what, "remedy": error.remedy}})
        sys.stderr.write(f"{error}\n")
        return error.status


def _sync(args: argparse.Namespace) -> int:
    result = sync(load_config(), Waiting(), dry_run=args.dry_run, full=args.full)
    if args.json:
        _print_json(_sync_as_json(result))
    elif not args.quiet:
        sys.stdout.write("".join(f"{line}\n" for line in _sync_lines(result)))
    return Exit.OK


def _sync_as_json(result: SyncResult) -> dict[str, Json]:
    answer: dict[str, Json] = {
        "ok": True,
        "disabled": result.read is None,
        "dryRun": result.dry_run,
        "generation": result.generation,
        "reports": [_sent_as_json(sent) for sent in result.sent],
    }
    if read := result.read:
        answer["read"] = {
            "sessions": read.sessions,
            "rows": read.rows,
            "changed": read.changed,
            "gone": read.gone,
            "undated": read.undated,
            "databaseReplaced": read.database_replaced,
        }
    return answer


def _sent_as_json(sent: Sent) -> dict[str, Json]:
    if sent.delivered is None:
        return {"payload": sent.payload}
    return {
        "coverage": sent.payload["coverage"],
        "hoursAreCallTime": sent.report.hours_are_call_time,
        "revision": sent.payload["revision"],
        "bytes": sent.delivered.bytes_sent,
        "attempts": sent.delivered.attempts,
        "rowsWritten": sent.delivered.rows_written,
    }


def _sync_lines(result: SyncResult) -> list[str]:
    read = result.read
    if read is None:
        return ["Switched off by USAGE_PIPELINE_DISABLED: nothing was read or sent."]
    lines = [f"Read {read.sessions} sessions ({result.generation}); {read.changed} counters grew."]
    if read.undated:
        lines.append(f"{read.undated} counters have no time at all: their past is not reported, what follows is.")
    if read.database_replaced:
        lines.append("state.db is another file than last time: what both show is counted once.")
    for sent in result.sent:
        days = f"{sent.report.start:%Y-%m-%d} to before {sent.report.end:%Y-%m-%d}"
        kind = "by call time" if sent.report.hours_are_call_time else "in part dated by session"
        if sent.delivered is None:
            lines += [f"Would send {days}, {kind}:", json.dumps(json.loads(encode_json(sent.payload)), indent=2)]
        else:
            lines.append(f"Sent {days}, {kind}: {sent.delivered.bytes_sent} bytes.")
    return lines


def _doctor(args: argparse.Namespace) -> int:
    found = diagnose(load_config(), Waiting(), send=args.send)
    if args.json:
        _print_json(found.as_json())
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _doctor_lines(found)))
    return Exit.UNEXPECTED if found.issues else Exit.OK


def _doctor_lines(found: Diagnosis) -> list[str]:
    lines = []
    for name, fact in found.facts.items():
        if isinstance(fact, dict):
            lines += [f"{name}.{detail}: {'-' if value is None else value}" for detail, value in fact.items()]
        else:
            lines.append(f"{name}: {fact}")
    lines += [f"issue: {issue}" for issue in found.issues]
    lines += [f"warning: {warning}" for warning in found.warnings]
    return [*lines, "Something is wrong." if found.issues else "All is well."]


def _show_config(args: argparse.Namespace) -> int:
    shown = load_config().shown()
    if args.json:
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return Exit.OK
    sys.stdout.write(f"hermesHome: {shown['hermesHome']}\nprofile: {shown['profile']}\n")
    settings = shown["settings"]
    assert isinstance(settings, dict)
    for name, setting in settings.items():
        sys.stdout.write(f"{name}: {'-' if setting['value'] is None else setting['value']} ({setting['from']})\n")
    return Exit.OK


def _print_json(value: dict[str, Json]) -> None:
    sys.stdout.write(encode_json(value).decode("ascii") + "\n")
