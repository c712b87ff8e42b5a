ALTER TABLE reconciliations DROP COLUMN bill_count;
DROP TABLE account_bill_history;
DROP TABLE account_bills;
DROP TABLE finding_history;
ALTER TABLE findings DROP COLUMN acknowledged_note;
ALTER TABLE findings DROP COLUMN acknowledged_by;
ALTER TABLE findings DROP COLUMN stated_at;
ALTER TABLE findings DROP COLUMN evidence;
