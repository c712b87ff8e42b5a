"""A provider that another package brings goes the whole way by command line, with no line of this project changed.

The package is installed as pip would lay it out, on a path of its own; its API is a server on loopback; the commands
are processes of their own, as a person would run them. The figures are worked out by hand:

    4 March   1,200 in, 300 out, 4 calls; 0.0105 dollars
    5 March     800 in, 100 out, 1 call and 50 in, 25 out, 2 calls of another engine; 0.006 + 0.000375 dollars
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from usage_pipeline_tests.outside import acmeai
from usage_pipeline_tests.providers.loopback import Answer, Loopback, serving

SECRET = "acme-token-of-the-company"
DAYS = ("--from", "2025-03-04", "--to", "2025-03-05")

TOKENS = {
    "2025-03-04": [{"engine": "acme-large", "tokens_in": 1200, "tokens_out": 300, "calls": 4}],
    "2025-03-05": [
        {"engine": "acme-large", "tokens_in": 800, "tokens_out": 100, "calls": 1},
        {"engine": "acme-small", "tokens_in": 50, "tokens_out": 25, "calls": 2},
    ],
}
CHARGES = {
    "2025-03-04": [{"engine": "acme-large", "dollars": "0.0105"}],
    "2025-03-05": [
        {"engine": "acme-large", "dollars": "0.006"},
        {"engine": "acme-small", "dollars": "0.000375"},
    ],
}


def api(path: str) -> Answer:
    """One day a page, whatever was asked for, so that its own way of paging is gone through."""
    parts = urlsplit(path)
    query = parse_qs(parts.query)
    day, days = query["from"][0], int(query["days"][0])
    entries = {"/v2/tokens": TOKENS, "/v2/charges": CHARGES}[parts.path][day]
    following = "2025-03-05" if day == "2025-03-04" and days > 1 else None
    return Answer(body=json.dumps({"days": [{"day": day, "entries": entries}], "go_on_at": following}).encode())


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder into which the package is installed."""
    folder = tmp_path / "site"
    metadata = folder / "acmeai_usage-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copyfile(acmeai.__file__, folder / "acmeai_usage.py")
    files = {
        "METADATA": "Metadata-Version: 2.1\nName: acmeai-usage\nVersion: 1.0\nRequires-Dist: usage-pipeline\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": "[usage_pipeline.providers]\nacmeai = acmeai_usage:PROVIDER\n",
    }
    for name, text in files.items():
        (metadata / name).write_text(text)
    listed = ["acmeai_usage.py", *(f"{metadata.name}/{name}" for name in (*files, "RECORD"))]
    (metadata / "RECORD").write_text("".join(f"{name},,\n" for name in listed))
    return folder


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs the command line in a process of its own."""

    environ: Mapping[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "usage_pipeline.cli", *words],
            env=dict(self.environ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def done(self, *words: str) -> str:
        finished = self.run(*words)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout


@pytest.fixture
def environ(migrated_database: str, tmp_path: Path) -> dict[str, str]:
    """The environment of the commands: a store and a data folder of their own, and the company's token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("USAGE_", "DAGSTER_"))}
    return {
        **kept,
        "USAGE_DATABASE_URL": migrated_database,
        "USAGE_HOME": str(tmp_path / "home"),
        "USAGE_NOW": "2025-03-12T12:00:00Z",
        "ACMEAI_TOKEN": SECRET,
    }


def add_key(url: str) -> tuple[str, ...]:
    where = ("--workspace", "acme", "--provider", "acmeai", "--name", "main", "--base-url", url)
    return ("keys", "add", *where, "--mode", "admin", "--secret", "env:ACMEAI_TOKEN", "--grain", "1d")


def test_the_report_has_the_tokens_and_dollars_of_a_provider_from_outside(
    installed: Path, environ: dict[str, str]
) -> None:
    commands = Commands({**environ, "PYTHONPATH": str(installed)})
    with serving(Loopback(by_path=api)) as server:
        commands.done("workspace", "add", "acme")
        commands.done(*add_key(server.url))
        commands.done("backfill", *DAYS, "--json")
        report: Any = json.loads(commands.done("report", *DAYS, "--json"))

    assert {one.headers["X-Acme-Token"] for one in server.asked} == {SECRET}
    assert sorted({urlsplit(one.path).path for one in server.asked}) == ["/v2/charges", "/v2/tokens"]
    told = {
        (row["date"], row["provider"], row["model"]): (
            row["counted"]["tokens"]["uncached_input"],
            row["counted"]["tokens"]["output"],
            row["counted"]["requests"],
            Decimal(row["cost"]["counted"]["usd"]),
            row["cost"]["counted"]["basis"],
        )
        for row in report["rows"]
        if row["family"] == "text"
    }
    assert told == {
        ("2025-03-04", "acmeai", "acme-large"): (1200, 300, 4, Decimal("0.0105"), "billed"),
        ("2025-03-05", "acmeai", "acme-large"): (800, 100, 1, Decimal("0.006"), "billed"),
        ("2025-03-05", "acmeai", "acme-small"): (50, 25, 2, Decimal("0.000375"), "billed"),
    }
    totals = report["totals"]
    assert (totals["counted"]["tokens"]["uncached_input"], totals["counted"]["tokens"]["output"]) == (2050, 425)
    assert Decimal(totals["cost"]["counted"]["usd"]) == Decimal("0.016875")


def test_without_the_package_there_is_no_such_provider(environ: dict[str, str]) -> None:
    refused = Commands(environ).run(*add_key("http://127.0.0.1:9"))

    assert refused.returncode == 2
    assert "[provider_unknown]" in refused.stderr
    assert "acmeai" not in refused.stderr.partition("Known providers")[2]
