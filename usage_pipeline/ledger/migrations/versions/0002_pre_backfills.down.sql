DROP TABLE backfill_steps, backfills;
