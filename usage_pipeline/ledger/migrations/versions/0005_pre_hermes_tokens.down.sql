DROP INDEX hermes_batches_arrival;
DROP TABLE feed_tokens;
