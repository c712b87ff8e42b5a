-- What a reader of the usage API proves with that a workspace's figures may be shown. Only the hash is kept; the prefix
-- finds it. Never deleted: a token that ended must still be told apart from one that never was.
CREATE TABLE read_tokens (
    prefix text PRIMARY KEY,
    workspace_id integer NOT NULL REFERENCES workspaces,
    token_sha256 bytea NOT NULL CHECK (octet_length(token_sha256) = 32),
    name text NOT NULL,
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX read_tokens_workspace ON read_tokens (workspace_id);

-- When a read token was last used, and how many requests are left in its bucket (as of filled_at, which is the
-- database's clock).
CREATE TABLE read_token_uses (
    prefix text PRIMARY KEY REFERENCES read_tokens ON DELETE CASCADE,
    last_used_at timestamptz NOT NULL,
    requests_left double precision NOT NULL,
    filled_at timestamptz NOT NULL
);

-- A person's session, begun with a read token: it opens what the token opens, and ends with it at the latest. Only the
-- hash is kept. Deleted when it ends.
CREATE TABLE read_sessions (
    prefix text PRIMARY KEY,
    token_prefix text NOT NULL REFERENCES read_tokens ON DELETE CASCADE,
    session_sha256 bytea NOT NULL CHECK (octet_length(session_sha256) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX read_sessions_token ON read_sessions (token_prefix);
