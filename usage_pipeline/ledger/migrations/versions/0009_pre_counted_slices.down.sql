-- Shares of lower bounds are derived; the older code counts them without shares.
DELETE FROM reconciled_shares WHERE share = 'lower_bound';
DELETE FROM reconciled_shares_history WHERE share = 'lower_bound';
UPDATE reconciliations AS c SET share_count = (
    SELECT count(*) FROM reconciled_shares AS s WHERE s.reconciliation_id = c.reconciliation_id
);
ALTER TABLE reconciled_shares DROP CONSTRAINT reconciled_shares_share_check;
ALTER TABLE reconciled_shares ADD CONSTRAINT reconciled_shares_share_check CHECK (share IN ('explained', 'stand_in'));

DROP INDEX reconciled_shares_history_share;
DROP TABLE counted_slices_history, counted_slices;
