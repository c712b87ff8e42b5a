"""What final pulls of a slice said per model, kept only where they disagree: the ground of ``restated_after_final``."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, text


def known_final_pulls(connection: Connection, slice_id: int) -> frozenset[int]:
    """The final pulls of the slice whose figures are kept already."""
    rows = connection.execute(
        text("SELECT DISTINCT pull_id FROM final_figures WHERE slice_id = :slice_id"), {"slice_id": slice_id}
    )
    return frozenset(rows.scalars())


def keep_final_figures(
    connection: Connection, slice_id: int, pull_id: int, figures: Mapping[str, Mapping[str, int]]
) -> None:
    """Keep a final pull's figures by reported model. A pull without rows is kept as one empty model."""
    for model, of_model in sorted((figures or {"": {}}).items()):
        connection.execute(
            text(
                "INSERT INTO final_figures (slice_id, pull_id, model, figures)"
                " VALUES (:slice_id, :pull_id, :model, CAST(:figures AS jsonb))"
            ),
            {
                "slice_id": slice_id,
                "pull_id": pull_id,
                "model": model,
                "figures": msgspec.json.encode(of_model).decode(),
            },
        )
