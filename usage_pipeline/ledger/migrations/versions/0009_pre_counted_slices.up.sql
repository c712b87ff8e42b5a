-- Which rows of a slice count, as a workspace's day was reconciled: none, all, or all but those of some projects and of
-- some upstream vendors. Provider slices name the family and the account that they were decided with (the bill's family
-- is "costs"); family is null for Hermes' daily slices, and for endpoints that only inform and never count.
CREATE TABLE counted_slices (
    reconciliation_id bigint NOT NULL,
    counted_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    slice_id bigint NOT NULL,
    family text,
    route text,
    account text,
    counts boolean NOT NULL,
    excluded_projects text[] NOT NULL,
    excluded_upstreams text[] NOT NULL,
    PRIMARY KEY (reconciliation_id, counted_id)
);
CREATE TABLE counted_slices_history (
    LIKE counted_slices,
    superseded_at timestamptz NOT NULL
);
CREATE INDEX counted_slices_history_slice ON counted_slices_history (reconciliation_id, counted_id);
CREATE INDEX reconciled_shares_history_share ON reconciled_shares_history (reconciliation_id, share_id);

-- A lower bound counts although Hermes alone reports the measure: its shares are rows like the others.
ALTER TABLE reconciled_shares DROP CONSTRAINT reconciled_shares_share_check;
ALTER TABLE reconciled_shares ADD CONSTRAINT reconciled_shares_share_check
    CHECK (share IN ('explained', 'stand_in', 'lower_bound'));
