ALTER TABLE reconciled_usage_history DROP COLUMN cost_computed_version;
ALTER TABLE reconciled_usage DROP COLUMN cost_computed_version;
DROP TABLE price_overrides;
DROP TABLE prices_in_force;
