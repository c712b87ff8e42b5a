-- Whether its severity is one that nobody is to be told (USAGE_ALERT_SEVERITIES), as of when it was last seen.
ALTER TABLE alerts ADD COLUMN quiet boolean NOT NULL DEFAULT false;

-- Which receiver it was: a salted, slow digest of its URL, so that one that takes another's place is not taken for it.
-- Null: noted before digests were kept.
ALTER TABLE alert_deliveries ADD COLUMN receiver_digest bytea;
CREATE INDEX alert_deliveries_receiver ON alert_deliveries (receiver_digest, alert_id);

-- The salt of these digests, this store's own.
CREATE TABLE alert_salt (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    salt bytea NOT NULL
);

-- Up to when the ended runs of an instance of Dagster were looked at, written with the alerts that came of it.
CREATE TABLE alert_looks (
    run_storage text PRIMARY KEY,
    looked_until timestamptz NOT NULL
);
