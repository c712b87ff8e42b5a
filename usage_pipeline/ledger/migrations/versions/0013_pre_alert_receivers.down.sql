DROP TABLE alert_looks;
DROP TABLE alert_salt;
DROP INDEX alert_deliveries_receiver;
ALTER TABLE alert_deliveries DROP COLUMN receiver_digest;
ALTER TABLE alerts DROP COLUMN quiet;
