-- Both are read and written by slice. At their usual share of the whole table, dead rows of a table of fifty million
-- would wait for ten million others, and a slice that was loaded would stay unknown to the planner for five million rows.
ALTER TABLE usage_events SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
ALTER TABLE reconciled_usage SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01);
