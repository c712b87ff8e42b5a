-- The account as the provider tells it, under which version of the secret it told so, and since when the key's account
-- is what it is (null: since it was registered).
ALTER TABLE provider_keys ADD COLUMN account_told text;
ALTER TABLE provider_keys ADD COLUMN account_told_version integer;
ALTER TABLE provider_keys ADD COLUMN account_since timestamptz;

-- What an account's projects, keys and users are called, for people to read. Rows are never deleted: what was archived
-- keeps its last name.
CREATE TABLE dimension_names (
    provider text NOT NULL,
    account text NOT NULL,
    dimension text NOT NULL CHECK (dimension IN ('project_id', 'api_key_id', 'user_id', 'service_account_id')),
    id text NOT NULL,
    name text NOT NULL,
    detail jsonb NOT NULL,
    fetched_at timestamptz NOT NULL,
    PRIMARY KEY (provider, account, dimension, id)
);
