"""pre: digests of what a Hermes batch says of each day, by which a day that did not change is told.

Safe before the code is deployed: it only adds.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UP = Path(__file__).with_suffix(".up.sql")
_DOWN = Path(__file__).with_suffix(".down.sql")


def upgrade() -> None:
    op.execute(_UP.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute(_DOWN.read_text(encoding="utf-8"))
