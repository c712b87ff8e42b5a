"""pre: limits that refusals taught, and the vendor behind a reseller's or a proxy's row.

Safe before the code is deployed: it only adds.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UP = Path(__file__).with_suffix(".up.sql")
_DOWN = Path(__file__).with_suffix(".down.sql")


def upgrade() -> None:
    op.execute(_UP.read_text(encoding="utf-8"))


def downgrade() -> None:
    op.execute(_DOWN.read_text(encoding="utf-8"))
