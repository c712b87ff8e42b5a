DROP TABLE parity_days;
DROP TABLE parity_checks;
