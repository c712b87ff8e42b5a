"""The plugin is no part of the installed package: it is imported from its folder, as Hermes does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

PLUGIN_PARENT = Path(__file__).resolve().parents[2] / "hermes_plugin"
if str(PLUGIN_PARENT) not in sys.path:
    sys.path.insert(0, str(PLUGIN_PARENT))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's own Hermes is set to stays out of the tests."""
    from usage_pipeline_hermes.config import VARIABLES

    for variable in (*VARIABLES.values(), "HERMES_HOME"):
        monkeypatch.delenv(variable, raising=False)
