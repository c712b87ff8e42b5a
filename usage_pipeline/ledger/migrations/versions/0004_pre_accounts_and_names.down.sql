DROP TABLE dimension_names;
ALTER TABLE provider_keys DROP COLUMN account_since;
ALTER TABLE provider_keys DROP COLUMN account_told_version;
ALTER TABLE provider_keys DROP COLUMN account_told;
