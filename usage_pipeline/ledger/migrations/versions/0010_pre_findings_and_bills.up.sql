-- What stands behind a finding (pulls with their raw pages, batches, failed attempts), who acknowledged it and why, and
-- since when its figures and words are those that stand. Of a finding from before, no former words were kept: what it
-- says now is taken to be what it said from the beginning.
ALTER TABLE findings ADD COLUMN evidence jsonb NOT NULL DEFAULT '[]';
ALTER TABLE findings ADD COLUMN stated_at timestamptz;
UPDATE findings SET stated_at = first_seen;
ALTER TABLE findings ADD COLUMN acknowledged_by text;
ALTER TABLE findings ADD COLUMN acknowledged_note text;

-- A finding as it stood before its figures or words changed: believed from stated_at to before superseded_at.
CREATE TABLE finding_history (
    finding_id bigint NOT NULL REFERENCES findings ON DELETE CASCADE,
    explanation text NOT NULL,
    figure_provider numeric,
    figure_hermes numeric,
    difference numeric,
    evidence jsonb NOT NULL,
    stated_at timestamptz NOT NULL,
    superseded_at timestamptz NOT NULL
);
CREATE INDEX finding_history_finding ON finding_history (finding_id, superseded_at);

-- The code of before this migration names no stated_at.
ALTER TABLE findings ALTER COLUMN stated_at SET DEFAULT now();
ALTER TABLE findings ALTER COLUMN stated_at SET NOT NULL;

-- An account's bill of a workspace's day beside what its usage costs: the difference, and the reason where it can be
-- told. The compared amounts are those of what has a price; a null amount is not known.
CREATE TABLE account_bills (
    reconciliation_id bigint NOT NULL,
    bill_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    provider text NOT NULL,
    account text NOT NULL,
    route text NOT NULL,
    final boolean NOT NULL,
    billed_usd numeric,
    computed_usd numeric,
    compared_billed_usd numeric,
    compared_computed_usd numeric,
    unpriced text[] NOT NULL,
    difference_usd numeric,
    tolerance_usd numeric,
    agrees boolean,
    reason text,
    reason_usd numeric,
    reason_words text,
    price_versions text[] NOT NULL,
    PRIMARY KEY (reconciliation_id, bill_id)
);
CREATE TABLE account_bill_history (
    LIKE account_bills,
    superseded_at timestamptz NOT NULL
);
CREATE INDEX account_bill_history_bill ON account_bill_history (reconciliation_id, bill_id);
ALTER TABLE reconciliations ADD COLUMN bill_count bigint NOT NULL DEFAULT 0;
