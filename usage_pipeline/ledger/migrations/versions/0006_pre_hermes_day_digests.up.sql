-- What a batch says of each of its days, as a digest by ISO day (no rows: no entry). Null: kept before digests were.
ALTER TABLE hermes_batches ADD COLUMN day_digests jsonb;
