"""What a bench found, for people: the table on the terminal, and the same in docs/performance.md between its marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.table import Table

from bench.figures import Figure

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_HEADINGS = ("what", "rows", "MB", "figure", "spread", "reference", "ratio", "budget", "ok")


def as_table(figures: Sequence[Figure]) -> Table:
    """The figures as a terminal shows them."""
    table = Table(title="Medians; the reference of a load is a bare COPY of the same rows, taken beside it")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for figure in figures:
        *cells, ok = _cells(figure)
        table.add_row(*cells, {"yes": "[green]yes[/green]", "no": "[red]no[/red]"}.get(ok, ok))
    return table


def write_page(figures: Sequence[Figure], growth: Mapping[str, Mapping[int, float]]) -> None:
    """Put the figures and their growth into the page, between the marks."""
    page = PAGE.read_text()
    page = _between(page, "results", _markdown(_HEADINGS, (_cells(figure) for figure in figures)))
    sizes = sorted({size for by_size in growth.values() for size in by_size})
    rows = (
        (what, *(f"{by_size[size]:,.2f}" if size in by_size else "" for size in sizes))
        for what, by_size in growth.items()
    )
    page = _between(page, "growth", _markdown(("µs a row", *(f"{size:,}" for size in sizes)), rows))
    PAGE.write_text(page)


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        f"{figure.rows:,}" if figure.rows else "",
        f"{figure.size / 1e6:,.1f}" if figure.size else "",
        f"{figure.value:,.3f} {figure.unit}",
        f"{min(figure.samples):,.3f}–{max(figure.samples):,.3f}" if len(figure.samples) > 1 else "",
        "" if figure.reference is None else f"{figure.reference:,.3f} s",
        "" if figure.ratio is None else f"{figure.ratio:,.2f} ×",
        "" if figure.budget is None else f"{figure.budget:.3g} {'×' if figure.references else figure.unit}",
        {None: "", True: "yes", False: "no"}[figure.ok],
    )


def _markdown(headings: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _between(page: str, name: str, text: str) -> str:
    """The page with ``text`` between the two marks of that name."""
    before, mark, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- end of {name} -->")
    assert mark, f"docs/performance.md has no mark where {name} begin"
    assert end, f"docs/performance.md has no mark where {name} end"
    return f"{before}{mark}\n{text}\n\n{end}{after}"
