"""pre: which rows of which slice count, so that any cut of the counted usage adds up.

Safe before the code is deployed: it only adds.
"""

from __future__ import annotations

from usage_pipeline.ledger.migration_sql import downgrade_of, upgrade_of

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    upgrade_of(__file__)


def downgrade() -> None:
    downgrade_of(__file__)
