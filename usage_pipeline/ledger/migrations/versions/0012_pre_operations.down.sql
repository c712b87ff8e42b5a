DROP TABLE redacted_pages;
DROP TABLE erased_ids;
DROP TABLE erasure_secret;
DROP TABLE pruned_history;
DROP INDEX audit_log_settings;
ALTER TABLE audit_log DROP COLUMN actor;
