"""pre: the rules of showback.

Safe before the code is deployed: it only adds.
"""

from __future__ import annotations

from usage_pipeline.ledger.migration_sql import downgrade_of, upgrade_of

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    upgrade_of(__file__)


def downgrade() -> None:
    downgrade_of(__file__)
