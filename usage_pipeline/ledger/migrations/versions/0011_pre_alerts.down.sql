DROP TABLE ingestion_issues;
DROP TABLE ingestion_totals;
DROP INDEX findings_open_code;
DROP INDEX ingestion_runs_of_feed;
DROP TABLE alert_deliveries;
DROP TABLE alerts;
