ALTER TABLE hermes_batches DROP COLUMN day_digests;
