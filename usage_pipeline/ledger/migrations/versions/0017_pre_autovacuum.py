"""pre: vacuum and analyse large tables by slices, not by a fifth of the whole.

Safe before the code is deployed: it changes no row.
"""

from __future__ import annotations

from usage_pipeline.ledger.migration_sql import downgrade_of, upgrade_of

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    upgrade_of(__file__)


def downgrade() -> None:
    downgrade_of(__file__)
