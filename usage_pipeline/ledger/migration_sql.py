"""A migration's SQL, which lies beside its version file: ``NNNN_name.up.sql`` and ``NNNN_name.down.sql``."""

from __future__ import annotations

from pathlib import Path

from alembic import op


def upgrade_of(version_file: str) -> None:
    """Run what brings the schema up to the version whose file this is."""
    op.execute(Path(version_file).with_suffix(".up.sql").read_text(encoding="utf-8"))


def downgrade_of(version_file: str) -> None:
    """Run what takes the schema down from the version whose file this is."""
    op.execute(Path(version_file).with_suffix(".down.sql").read_text(encoding="utf-8"))
