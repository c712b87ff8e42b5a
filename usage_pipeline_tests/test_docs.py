"""The documents name what the code has: settings, finding codes, tables, endpoints, commands; no more and no less."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal
from pathlib import Path

import pytest
import typer

from usage_pipeline.cli.app import app
from usage_pipeline.ledger.read_tokens import SCOPES
from usage_pipeline.providers.registry import providers
from usage_pipeline.reconcile.findings import FINDING_CODES
from usage_pipeline.service.access import ACCESS, Access
from usage_pipeline.service.coverage import STATES
from usage_pipeline.service.exports import PARAMETERS as EXPORTS
from usage_pipeline.service.readings import READINGS
from usage_pipeline.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = dataclasses.fields(Settings)
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])

_TABLE_ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"(?<!hermes )usage-pipeline ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)")
_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_VARIABLE_IN_CODE = re.compile(r"""["'](USAGE_[A-Z_]+)["']""")


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _section(page: str, heading: str) -> str:
    """The text below a heading of the second level, up to the next one."""
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def _as_written(default: object) -> str:
    """A default as docs/settings.md writes it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (int, Decimal)):
        return str(default)
    if default is None or isinstance(default, str):
        return default or "none"
    if default is dataclasses.MISSING:  # a setting with a variable for each provider
        return "none"
    assert isinstance(default, tuple)
    return ",".join(default) or "none"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_documented_with_its_default(setting: dataclasses.Field[object]) -> None:
    row = re.search(rf"^\| `{setting.metadata['variable']}` \|[^|]*\| ([^|]*) \|", _page("settings.md"), re.MULTILINE)
    assert row, f"docs/settings.md has no row for {setting.metadata['variable']}"
    assert row[1] == _as_written(setting.default)


def test_no_setting_is_documented_that_does_not_exist() -> None:
    heading = "Pipeline (`usage_pipeline/settings.py`)"
    documented = set(_TABLE_ROW.findall(_section(_page("settings.md"), heading)))
    assert documented == {setting.metadata["variable"] for setting in SETTINGS}


def test_every_variable_that_the_code_reads_is_documented() -> None:
    sources = (ROOT / "usage_pipeline").rglob("*.py")
    read = {name for path in sources for name in _VARIABLE_IN_CODE.findall(path.read_text(encoding="utf-8"))}
    assert read - set(_TABLE_ROW.findall(_page("settings.md"))) == set()


def test_every_finding_code_is_documented_and_no_other() -> None:
    assert set(_TABLE_ROW.findall(_section(_page("reconciliation.md"), "Findings"))) == set(FINDING_CODES)


def test_the_rows_of_the_decision_table_keep_their_numbers() -> None:
    table = _section(_page("reconciliation.md"), "The decision table")
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == [str(number) for number in range(1, 12)]


def test_every_worked_example_is_there() -> None:
    examples = _section(_page("reconciliation.md"), "Worked examples")
    assert "".join(re.findall(r"^\| ([a-z]) \|", examples, re.MULTILINE)) == "abcdefghijklmnop"


def test_every_table_is_documented_and_no_other() -> None:
    migrations = (ROOT / "usage_pipeline" / "ledger" / "migrations" / "versions").glob("*.up.sql")
    made = {name for path in migrations for name in _TABLE.findall(path.read_text(encoding="utf-8"))}
    rows = [line for line in _section(_page("architecture.md"), "Tables").splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])} == made


def _names_in(table: str) -> set[str]:
    """The names in the first cells of a table's rows."""
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_every_route_of_the_api_is_documented_with_its_scope_and_its_parameters() -> None:
    page = _page("api.md")
    parameters = {reading.path: reading.parameters for reading in READINGS} | EXPORTS
    routes = {(method, path) for (method, path), rule in ACCESS.items() if rule.access is Access.READER}
    headings = set(re.findall(r"^## `(GET) (/[^`]+)`$", page, re.MULTILINE))
    assert headings == routes
    for method, path in routes:
        section = _section(page, f"`{method} {path}`").split("\n\n| Field |")[0].split("\n\n| State |")[0]
        assert _names_in(section) == {one.name for one in parameters.get(path, ())}, path
        scope = ACCESS[method, path].scope
        assert f"Scope `{scope}`" in section or scope == "exports" or "Any\nscope" in section or "Any scope" in section
    assert _names_in(_section(page, "Access").split("| Scope |")[1]) == SCOPES.keys()
    assert _names_in(_section(page, "`GET /api/coverage`").split("| State |")[1]) == STATES.keys()


def test_every_endpoint_of_every_provider_is_documented() -> None:
    page = _page("providers.md")
    for provider in providers():
        assert f"## {provider.title} (`{provider.name}.py`)" in page
        section = _section(page, f"{provider.title} (`{provider.name}.py`)")
        for endpoint in provider.endpoints:
            assert f"`{endpoint.name}`" in section
            assert f"`{endpoint.path}`" in section
            for width, limit in endpoint.page_limits.items():
                assert f"{limit} of `{width}`" in section


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_documents_exist(page: Path) -> None:
    root = typer.main.get_command(app)
    commands = getattr(root, "commands", {})
    known = {name for name, command in commands.items() if not getattr(command, "commands", {})}
    known |= {f"{name} {verb}" for name, command in commands.items() for verb in getattr(command, "commands", {})}
    groups = {name for name, command in commands.items() if getattr(command, "commands", {})}
    known |= {f"{name} " for name in groups if getattr(commands[name], "invoke_without_command", False)}
    for written in _COMMAND.findall(page.read_text(encoding="utf-8")):
        first, _, verb = written.partition(" ")
        assert (f"{first} {verb}" if first in groups else first) in known, f"there is no usage-pipeline {written}"


def test_make_help_and_the_readme_list_the_same_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) - {"help"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", _section(readme, "make help"), re.MULTILINE)) == targets
