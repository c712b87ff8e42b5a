-- What a Hermes install proves with that it may write its feed. Only the hash is kept; the prefix finds it. Never
-- deleted: a token that ended must still be told apart from one that never was.
CREATE TABLE feed_tokens (
    prefix text PRIMARY KEY,
    feed_id integer NOT NULL REFERENCES hermes_feeds,
    token_sha256 bytea NOT NULL CHECK (octet_length(token_sha256) = 32),
    created_at timestamptz NOT NULL,
    ends_at timestamptz
);
CREATE INDEX feed_tokens_feed ON feed_tokens (feed_id);

-- What a feed sent lately: its rate, and how much of it was refused.
CREATE INDEX hermes_batches_arrival ON hermes_batches (feed_id, received_at);
