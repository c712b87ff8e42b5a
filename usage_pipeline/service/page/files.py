"""The page's files as they are sent: their addresses with digests, their bytes, and those packed with gzip.

In: the folder ``static`` and the bundle that the installed ``plotly`` brings along. Out: :class:`PageFiles`. A file's
address holds a digest of what it belongs to, so that a browser may keep it for ever and never mixes two releases: one
digest for all of our own files, since they import each other by name, and one for Plotly's.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from usage_pipeline.errors import InvariantError

PLOTLY: Final = "plotly.min.js"
MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
DOCUMENTS: Final = ("index.html", "login.html")

_FOLDER: Final = Path(__file__).parent / "static"
_DIGEST_CHARACTERS: Final = 16
_GZIP_LEVEL: Final = 6
_MAP_STYLE: Final = re.compile(rb'getElementById\("([0-9a-f]{64})"\)')
"""Plotly's bundle adds the style of its maps to any document that has no element of this id."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file: its type, its bytes, and the same packed; ``packed`` is empty where packing gains nothing."""

    media_type: str
    body: bytes
    packed: bytes


@dataclass(frozen=True, slots=True)
class PageFiles:
    """Every file by its digest and name, and the documents by name, with marks where the addresses stand."""

    digest: str
    plotly_digest: str
    plotly_map_style: str
    files: dict[tuple[str, str], PageFile]
    documents: dict[str, str]

    def document(self, name: str, dimensions: Collection[str], paths: Collection[str]) -> str:
        """A document with the addresses of its files, and what the API can do: its dimensions and its paths."""
        values = {
            "static": f"/static/{self.digest}",
            "plotly": f"/static/{self.plotly_digest}/{PLOTLY}",
            "plotly_map_style": self.plotly_map_style,
            "dimensions": " ".join(dimensions),
            "paths": " ".join(paths),
        }
        return re.sub(r"\{\{(\w+)\}\}", lambda mark: html.escape(values[mark[1]]), self.documents[name])


@cache
def page_files() -> PageFiles:
    """The files of this installation, read and packed once a process.

    Raises :class:`InvariantError` ``plotly_missing`` where the installed package has no bundle.
    """
    own = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
    plotly = _plotly()
    map_style = _MAP_STYLE.search(plotly)
    digest, plotly_digest = _digest(*own.values()), _digest(plotly)
    files = {(digest, name): _file(name, body) for name, body in own.items()}
    files[plotly_digest, PLOTLY] = _file(PLOTLY, plotly)
    documents = {name: (_FOLDER / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    return PageFiles(digest, plotly_digest, map_style[1].decode() if map_style else "", files, documents)


def _plotly() -> bytes:
    found = find_spec("plotly")  # without importing it, which takes long
    bundle = Path(found.origin).parent / "package_data" / PLOTLY if found and found.origin else None
    if bundle is None or not bundle.is_file():
        raise InvariantError(
            "plotly_missing", "the installed package plotly has no plotly.min.js", remedy="Install plotly again."
        )
    return bundle.read_bytes()


def _file(name: str, body: bytes) -> PageFile:
    packed = gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return PageFile(MEDIA_TYPES[Path(name).suffix], body, packed if len(packed) < len(body) else b"")


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:_DIGEST_CHARACTERS]
