"""Providers are found by their slug."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from usage_pipeline.errors import ExitCode, InvalidInputError
from usage_pipeline.providers import anthropic, openai
from usage_pipeline.providers.registry import provider, provider_names, providers


def bring(folder: Path, monkeypatch: pytest.MonkeyPatch, entries: str, module: str = "") -> None:
    """Install a package that brings providers, as pip would lay it out."""
    metadata = folder / "brought-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[usage_pipeline.providers]\n{entries}\n")
    (folder / "brought_provider.py").write_text(module)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "brought_provider", raising=False)


def test_the_built_in_providers_are_known_without_installed_metadata() -> None:
    assert provider("openai") is openai.PROVIDER
    assert provider("anthropic") is anthropic.PROVIDER
    assert {"anthropic", "openai"} <= {known.name for known in providers()}


def test_an_unknown_provider_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInputError) as caught:
        provider("acme")

    assert caught.value.code == "provider_unknown"
    assert caught.value.exit_code is ExitCode.USAGE
    assert "anthropic, litellm, openai, openrouter" in str(caught.value)


def test_a_package_brings_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(tmp_path, monkeypatch, "acme = brought_provider:PROVIDER", "class PROVIDER:\n    name = 'acme'\n")

    assert "acme" in provider_names()
    assert provider("acme").name == "acme"


def test_no_package_takes_the_place_of_a_built_in_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(tmp_path, monkeypatch, "openai = brought_provider:PROVIDER", "class PROVIDER:\n    name = 'openai'\n")

    assert provider("openai") is openai.PROVIDER


@pytest.mark.parametrize("module", ["", "class PROVIDER:\n    name = 'other'\n", "import no_such_module\n"])
def test_a_broken_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    bring(tmp_path, monkeypatch, "acme = brought_provider:PROVIDER", module)

    with pytest.raises(InvalidInputError, match="provider_broken") as caught:
        provider("acme")
    assert "brought_provider:PROVIDER" in str(caught.value)
