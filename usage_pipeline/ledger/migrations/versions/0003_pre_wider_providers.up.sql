-- What refusals taught about an endpoint under one key, so that a refusal is met once.
CREATE TABLE learned_limits (
    feed_id integer NOT NULL REFERENCES feeds,
    endpoint text NOT NULL,
    refused_dimensions text[] NOT NULL,
    dimensions_max integer,
    page_limits jsonb NOT NULL,
    said text NOT NULL,
    learned_at timestamptz NOT NULL,
    PRIMARY KEY (feed_id, endpoint)
);

-- The vendor whose model a reseller or a proxy passed a call on to.
ALTER TABLE usage_events ADD COLUMN upstream_provider text;
ALTER TABLE usage_event_history ADD COLUMN upstream_provider text;
