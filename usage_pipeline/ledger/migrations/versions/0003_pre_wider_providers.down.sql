ALTER TABLE usage_event_history DROP COLUMN upstream_provider;
ALTER TABLE usage_events DROP COLUMN upstream_provider;
DROP TABLE learned_limits;
