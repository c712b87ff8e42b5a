"""Which kinds of export files there are, by provider, and which of them a file is.

A provider's export is one module with ``FORMATS``; its line in ``_MODULES`` is all that the rest needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from usage_pipeline.errors import InvalidInputError
from usage_pipeline.parity.dashboard_csv import DashboardCsv
from usage_pipeline.parity.export_format import ExportFormat, Kind

_MODULES: Final = {
    "anthropic": "usage_pipeline.parity.anthropic_export",
    "openai": "usage_pipeline.parity.openai_export",
    "openrouter": "usage_pipeline.parity.openrouter_export",
}


@dataclass(frozen=True, slots=True)
class Stated:
    """What a person says of the files, None where the files must tell."""

    provider: str | None = None
    kind: Kind | None = None
    family: str | None = None


def export_providers() -> tuple[str, ...]:
    """The providers whose exports can be read, sorted."""
    return tuple(sorted(_MODULES))


def export_formats(provider: str | None = None) -> tuple[ExportFormat, ...]:
    """Every kind of file, or those of one provider. Raises ``InvalidInputError`` ``export_unknown``."""
    if provider is not None and provider not in _MODULES:
        raise InvalidInputError(
            "export_unknown",
            f"no export of {provider!r} can be read",
            where="--provider",
            remedy=f"Exports of these can: {', '.join(export_providers())}.",
        )
    names = [provider] if provider is not None else export_providers()
    return tuple(one for name in names for one in import_module(_MODULES[name]).FORMATS)


def recognise(file: DashboardCsv, stated: Stated) -> ExportFormat:
    """The kind of file that this is: by what is stated, by its name, then by the columns that only one kind has.

    Raises :class:`InvalidInputError`: ``export_unknown`` (no kind has these columns), and where several kinds remain
    ``provider_unknown``, ``kind_unknown`` or ``family_unknown``, whichever is missing.
    """
    header = frozenset(file.header)
    known = export_formats(stated.provider)
    candidates = [
        one
        for one in known
        if one.fits(header) and stated.kind in {None, one.kind} and stated.family in {None, one.family}
    ]
    if not candidates:
        raise InvalidInputError(
            "export_unknown",
            f"its columns are those of no export that is known{_wanted(stated)}: {', '.join(sorted(header))}",
            where=file.name,
            remedy="docs/parity.md lists the columns of each; check --provider, --kind and --family.",
        )
    candidates = [one for one in candidates if one.file_name.fullmatch(file.path.stem)] or candidates
    most = max(_columns_of_its_own(one, header) for one in candidates)
    candidates = [one for one in candidates if _columns_of_its_own(one, header) == most]
    for code, what, option, told in _CHOICES:
        choices = sorted({told(one) for one in candidates})
        if len(choices) > 1:
            raise InvalidInputError(
                code,
                f"neither its name nor its columns tell {what}",
                where=file.name,
                remedy=f"State it with {option}: {', '.join(choices)}.",
            )
    return candidates[0]


_CHOICES: Final[tuple[tuple[str, str, str, Callable[[ExportFormat], str]], ...]] = (
    ("provider_unknown", "whose export it is", "--provider", lambda one: one.provider),
    ("kind_unknown", "whether usage or costs are to be compared", "--kind", lambda one: one.kind),
    ("family_unknown", "which report it is", "--family", lambda one: one.family),
)


def _columns_of_its_own(one: ExportFormat, header: frozenset[str]) -> int:
    return 0 if one.is_empty_export(header) else len(one.signature & header)


def _wanted(stated: Stated) -> str:
    words = [word for word in (stated.provider, stated.kind, stated.family) if word]
    return f" of {' '.join(words)}" if words else ""
