"""The folder is a Hermes plugin as it stands: copied anywhere, loaded by Hermes' loader, with Python alone."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from usage_pipeline_hermes.version import PLUGIN_VERSION

FOLDER = Path(__file__).resolve().parents[2] / "hermes_plugin" / "usage_pipeline_hermes"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder copied to where Hermes looks for plugins, under the plugin's name."""
    return Path(
        shutil.copytree(
            FOLDER, tmp_path / "plugins" / "usage-pipeline", ignore=shutil.ignore_patterns("__pycache__", ".*_cache")
        )
    )


def test_hermes_loads_it_from_a_folder_of_any_name(installed: Path) -> None:
    name = "hermes_plugins.usage_pipeline"
    spec = importlib.util.spec_from_file_location(
        name, installed / "__init__.py", submodule_search_locations=[str(installed)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        names: list[str] = []

        class Context:
            def register_cli_command(self, *, name: str, **_: Any) -> None:
                names.append(name)

        module.register(Context())
        assert names == ["usage-pipeline"]
    finally:
        for loaded in [loaded for loaded in sys.modules if loaded.startswith(name)]:
            del sys.modules[loaded]


@pytest.mark.parametrize("way", ["folder", "module"])
def test_it_runs_without_hermes(way: str, installed: Path, tmp_path: Path) -> None:
    # -I and -S: nothing installed is importable, so it is the standard library alone that is used.
    if way == "folder":
        command = [sys.executable, "-I", "-S", str(installed), "show-config"]
    else:
        command = [sys.executable, "-S", "-m", "usage_pipeline_hermes", "show-config"]
    done = subprocess.run(
        command, cwd=FOLDER.parent, env={"HERMES_HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"hermesHome: {tmp_path}" in done.stdout


def test_it_imports_the_standard_library_and_itself_alone() -> None:
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names, path.name


def test_the_manifest_says_the_version_that_the_code_says() -> None:
    manifest = (FOLDER / "plugin.yaml").read_text(encoding="utf-8")
    assert re.search(r'^version: "([^"]+)"$', manifest, re.MULTILINE)[1] == PLUGIN_VERSION  # type: ignore[index]
    assert re.search(r"^name: usage-pipeline$", manifest, re.MULTILINE)
