-- A tenant. Policy, tolerance, settling and aliases are not dated: changing one reconciles the past anew.
CREATE TABLE workspaces (
    workspace_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9_-]*$'),
    name text NOT NULL,
    policy text NOT NULL DEFAULT 'provider_first'
        CHECK (policy IN ('provider_first', 'hermes_first', 'provider_only', 'hermes_only')),
    demo boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);

-- One configured way in: a registered provider key or a Hermes install. Its name is unique within its source.
CREATE TABLE feeds (
    feed_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id integer NOT NULL REFERENCES workspaces,
    source text NOT NULL CHECK (source IN ('provider_api_key', 'hermes_plugin')),
    slug text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (source, slug)
);

-- A provider credential: sealed, or a reference to where it is kept. Never the plain secret.
CREATE TABLE provider_keys (
    feed_id integer PRIMARY KEY REFERENCES feeds,
    provider text NOT NULL,
    name text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('admin', 'standard')),
    account text NOT NULL,
    account_stated boolean NOT NULL,
    grain text NOT NULL CHECK (grain IN ('1h', '1d')),
    base_url text NOT NULL,
    secret_sealed bytea,
    secret_reference text,
    secret_version integer NOT NULL DEFAULT 1,
    CHECK ((secret_sealed IS NULL) <> (secret_reference IS NULL))
);
CREATE INDEX provider_keys_account ON provider_keys (provider, account);

-- A Hermes install (feed and environment). The plugin's own labels are bound at its first batch.
CREATE TABLE hermes_feeds (
    feed_id integer PRIMARY KEY REFERENCES feeds,
    label text NOT NULL,
    environment text NOT NULL,
    days_back integer CHECK (days_back BETWEEN 1 AND 365),
    counts boolean NOT NULL,
    bound_workspace_slug text,
    bound_environment text
);

-- Settings that decide history, by the UTC day from which they hold: enabled, projects (scope), bills_to.
CREATE TABLE feed_settings (
    feed_id integer NOT NULL REFERENCES feeds,
    setting text NOT NULL CHECK (setting IN ('enabled', 'projects', 'bills_to')),
    effective_from date NOT NULL,
    value jsonb NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (feed_id, setting, effective_from)
);

-- One attempt to read one endpoint for a range of days, complete or nothing.
CREATE TABLE pulls (
    pull_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed_id integer NOT NULL REFERENCES feeds,
    endpoint text NOT NULL,
    first_day date NOT NULL,
    end_day date NOT NULL,
    window_seconds integer NOT NULL,
    dimensions_asked text[] NOT NULL,
    projects text[] NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    complete boolean NOT NULL,
    pages integer NOT NULL,
    requests integer NOT NULL,
    seconds_waited double precision NOT NULL,
    rows_read bigint NOT NULL,
    drift jsonb NOT NULL DEFAULT '{}',
    error_code text,
    error text,
    CHECK (complete = (error_code IS NULL)),
    CHECK (first_day < end_day)
);
CREATE INDEX pulls_newest ON pulls (feed_id, endpoint, started_at DESC);

-- What a complete pull said about one day: the digest of its results and the pull whose raw pages hold them.
CREATE TABLE pull_days (
    pull_id bigint NOT NULL REFERENCES pulls ON DELETE CASCADE,
    feed_id integer NOT NULL,
    endpoint text NOT NULL,
    day date NOT NULL,
    started_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    content_pull_id bigint NOT NULL,
    PRIMARY KEY (feed_id, endpoint, day, started_at, digest, pull_id)
);
CREATE INDEX pull_days_pull ON pull_days (pull_id);

-- The provider's answers, verbatim and compressed.
CREATE TABLE raw_pages (
    pull_id bigint NOT NULL REFERENCES pulls ON DELETE CASCADE,
    page_number integer NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    query jsonb NOT NULL,
    fetched_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    body_bytes bigint NOT NULL,
    body_zstd bytea NOT NULL,
    PRIMARY KEY (pull_id, page_number)
);
ALTER TABLE raw_pages ALTER COLUMN body_zstd SET STORAGE EXTERNAL;

-- The Hermes inbox: every payload as it came, accepted or refused and why.
CREATE TABLE hermes_batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed_id integer NOT NULL REFERENCES feeds,
    received_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    body_bytes bigint NOT NULL,
    body_zstd bytea NOT NULL,
    accepted boolean NOT NULL,
    refused_code text,
    refused_why text,
    schema_version integer,
    generated_at timestamptz,
    source_label text,
    findings jsonb NOT NULL DEFAULT '[]',
    first_day date,
    end_day date,
    CHECK (accepted = (refused_code IS NULL)),
    CHECK (NOT accepted OR generated_at IS NOT NULL)
);
CREATE UNIQUE INDEX hermes_batches_once ON hermes_batches (feed_id, digest, accepted);
CREATE INDEX hermes_batches_newest ON hermes_batches (feed_id, generated_at DESC) WHERE accepted;

-- The newest word of each feed on each day: which batch speaks for it.
CREATE TABLE hermes_days (
    feed_id integer NOT NULL REFERENCES feeds,
    day date NOT NULL,
    batch_id bigint NOT NULL REFERENCES hermes_batches,
    generated_at timestamptz NOT NULL,
    batch_digest bytea NOT NULL,
    PRIMARY KEY (feed_id, day)
);

-- (feed, endpoint, UTC day): covered and replaced as a whole. Coverage is derived from observed_at and the settling
-- time; the last attempt stands beside it and does not change it.
CREATE TABLE slices (
    slice_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    feed_id integer NOT NULL REFERENCES feeds,
    endpoint text NOT NULL,
    day date NOT NULL,
    window_seconds integer,
    dimensions_asked text[],
    observed_at timestamptz,
    observed_digest bytea,
    observed_pull_id bigint REFERENCES pulls,
    observed_batch_id bigint REFERENCES hermes_batches,
    content_digest bytea,
    hours_are_call_time boolean NOT NULL DEFAULT false,
    row_count bigint NOT NULL DEFAULT 0,
    last_attempt_at timestamptz,
    last_attempt_error_code text,
    last_attempt_error text,
    UNIQUE (feed_id, endpoint, day)
);
CREATE INDEX slices_day ON slices (day);

-- Canonical usage: one row per window and dimensions of a slice. Keys are a stable hash of feed, endpoint, window,
-- dimensions and the asked-for set. recorded_at is when this version of the row was written.
CREATE TABLE usage_events (
    slice_id bigint NOT NULL,
    event_id uuid NOT NULL,
    source_id bigint NOT NULL,
    window_start timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    uncached_input bigint,
    cache_read bigint,
    cache_write_5m bigint,
    cache_write_30m bigint,
    cache_write_1h bigint,
    cache_write_12h bigint,
    cache_write_unsplit bigint,
    output bigint,
    reasoning bigint,
    requests bigint,
    images bigint,
    characters bigint,
    seconds bigint,
    sessions bigint,
    searches bigint,
    usage_bytes bigint,
    input_text bigint,
    input_audio bigint,
    input_image bigint,
    cache_read_text bigint,
    cache_read_audio bigint,
    cache_read_image bigint,
    output_text bigint,
    output_audio bigint,
    output_image bigint,
    estimated_cost_usd numeric,
    actual_cost_usd numeric,
    counts boolean NOT NULL DEFAULT true,
    project_id text,
    user_id text,
    service_account_id text,
    api_key_id text,
    model text,
    service_tier text,
    batch text,
    context_window text,
    inference_geo text,
    speed text,
    api_source text,
    line_detail text,
    PRIMARY KEY (slice_id, event_id)
);

-- Superseded versions of usage events with the half-open period in which they were believed.
CREATE TABLE usage_event_history (
    LIKE usage_events,
    superseded_at timestamptz NOT NULL
);
CREATE INDEX usage_event_history_slice ON usage_event_history (slice_id, event_id);

-- Lines of the provider's own bill, exact.
CREATE TABLE billed_costs (
    slice_id bigint NOT NULL,
    line_id uuid NOT NULL,
    source_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    amount_usd numeric NOT NULL,
    label text,
    model text,
    cost_type text,
    token_type text,
    project_id text,
    user_id text,
    api_key_id text,
    service_tier text,
    context_window text,
    inference_geo text,
    quantity numeric,
    quantity_unit text,
    PRIMARY KEY (slice_id, line_id)
);
CREATE TABLE billed_cost_history (
    LIKE billed_costs,
    superseded_at timestamptz NOT NULL
);
CREATE INDEX billed_cost_history_slice ON billed_cost_history (slice_id, line_id);

-- Sums per reported model of a slice as later final pulls told it, kept only where they differ from the first final
-- one (the row with first_final); restated_after_final is read from here.
CREATE TABLE final_figures (
    slice_id bigint NOT NULL REFERENCES slices ON DELETE CASCADE,
    pull_id bigint NOT NULL REFERENCES pulls ON DELETE CASCADE,
    model text NOT NULL,
    figures jsonb NOT NULL,
    PRIMARY KEY (slice_id, pull_id, model)
);

-- Rates in USD per million units, by the days for which they hold.
CREATE TABLE prices (
    price_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    model text NOT NULL,
    variant text NOT NULL,
    day date NOT NULL,
    rates jsonb,
    version text NOT NULL,
    basis text NOT NULL,
    UNIQUE (provider, model, variant, day, version)
);

-- A workspace's day as reconciled: with which now, and when its result last changed.
CREATE TABLE reconciliations (
    reconciliation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id integer NOT NULL REFERENCES workspaces,
    day date NOT NULL,
    now timestamptz,
    row_count bigint NOT NULL DEFAULT 0,
    share_count bigint NOT NULL DEFAULT 0,
    UNIQUE (workspace_id, day)
);
CREATE INDEX reconciliations_day ON reconciliations (day);

-- What counts, why, and every difference: one row per cell (provider, route, family, model) of a workspace's day.
CREATE TABLE reconciled_usage (
    reconciliation_id bigint NOT NULL,
    cell_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    provider text NOT NULL,
    route text NOT NULL,
    family text NOT NULL,
    model text NOT NULL,
    decision text NOT NULL
        CHECK (decision IN ('provider', 'provider_then_hermes', 'hermes_standin', 'hermes_only', 'hermes', 'no_data')),
    provisional boolean NOT NULL,
    covered_until timestamptz,
    policy text NOT NULL,
    rules_version text NOT NULL,
    alias_version text NOT NULL,
    lower_bound text[] NOT NULL,
    reported_by_provider_uncached_input bigint,
    reported_by_provider_cache_read bigint,
    reported_by_provider_cache_write_5m bigint,
    reported_by_provider_cache_write_30m bigint,
    reported_by_provider_cache_write_1h bigint,
    reported_by_provider_cache_write_12h bigint,
    reported_by_provider_cache_write_unsplit bigint,
    reported_by_provider_output bigint,
    reported_by_provider_reasoning bigint,
    reported_by_provider_requests bigint,
    reported_by_provider_images bigint,
    reported_by_provider_characters bigint,
    reported_by_provider_seconds bigint,
    reported_by_provider_sessions bigint,
    reported_by_provider_searches bigint,
    reported_by_provider_usage_bytes bigint,
    reported_by_hermes_uncached_input bigint,
    reported_by_hermes_cache_read bigint,
    reported_by_hermes_cache_write_5m bigint,
    reported_by_hermes_cache_write_30m bigint,
    reported_by_hermes_cache_write_1h bigint,
    reported_by_hermes_cache_write_12h bigint,
    reported_by_hermes_cache_write_unsplit bigint,
    reported_by_hermes_output bigint,
    reported_by_hermes_reasoning bigint,
    reported_by_hermes_requests bigint,
    reported_by_hermes_images bigint,
    reported_by_hermes_characters bigint,
    reported_by_hermes_seconds bigint,
    reported_by_hermes_sessions bigint,
    reported_by_hermes_searches bigint,
    reported_by_hermes_usage_bytes bigint,
    counted_uncached_input bigint,
    counted_cache_read bigint,
    counted_cache_write_5m bigint,
    counted_cache_write_30m bigint,
    counted_cache_write_1h bigint,
    counted_cache_write_12h bigint,
    counted_cache_write_unsplit bigint,
    counted_output bigint,
    counted_reasoning bigint,
    counted_requests bigint,
    counted_images bigint,
    counted_characters bigint,
    counted_seconds bigint,
    counted_sessions bigint,
    counted_searches bigint,
    counted_usage_bytes bigint,
    explained_uncached_input bigint,
    explained_cache_read bigint,
    explained_cache_write_5m bigint,
    explained_cache_write_30m bigint,
    explained_cache_write_1h bigint,
    explained_cache_write_12h bigint,
    explained_cache_write_unsplit bigint,
    explained_output bigint,
    explained_reasoning bigint,
    explained_requests bigint,
    explained_images bigint,
    explained_characters bigint,
    explained_seconds bigint,
    explained_sessions bigint,
    explained_searches bigint,
    explained_usage_bytes bigint,
    unattributed_uncached_input bigint,
    unattributed_cache_read bigint,
    unattributed_cache_write_5m bigint,
    unattributed_cache_write_30m bigint,
    unattributed_cache_write_1h bigint,
    unattributed_cache_write_12h bigint,
    unattributed_cache_write_unsplit bigint,
    unattributed_output bigint,
    unattributed_reasoning bigint,
    unattributed_requests bigint,
    unattributed_images bigint,
    unattributed_characters bigint,
    unattributed_seconds bigint,
    unattributed_sessions bigint,
    unattributed_searches bigint,
    unattributed_usage_bytes bigint,
    excess_uncached_input bigint,
    excess_cache_read bigint,
    excess_cache_write_5m bigint,
    excess_cache_write_30m bigint,
    excess_cache_write_1h bigint,
    excess_cache_write_12h bigint,
    excess_cache_write_unsplit bigint,
    excess_output bigint,
    excess_reasoning bigint,
    excess_requests bigint,
    excess_images bigint,
    excess_characters bigint,
    excess_seconds bigint,
    excess_sessions bigint,
    excess_searches bigint,
    excess_usage_bytes bigint,
    stand_in_uncached_input bigint,
    stand_in_cache_read bigint,
    stand_in_cache_write_5m bigint,
    stand_in_cache_write_30m bigint,
    stand_in_cache_write_1h bigint,
    stand_in_cache_write_12h bigint,
    stand_in_cache_write_unsplit bigint,
    stand_in_output bigint,
    stand_in_reasoning bigint,
    stand_in_requests bigint,
    stand_in_images bigint,
    stand_in_characters bigint,
    stand_in_seconds bigint,
    stand_in_sessions bigint,
    stand_in_searches bigint,
    stand_in_usage_bytes bigint,
    cost_counted_usd numeric,
    cost_counted_basis text,
    cost_billed_usd numeric,
    cost_billed_basis text,
    cost_computed_usd numeric,
    cost_computed_basis text,
    cost_hermes_usd numeric,
    cost_hermes_basis text,
    PRIMARY KEY (reconciliation_id, cell_id)
);
CREATE TABLE reconciled_usage_history (
    LIKE reconciled_usage,
    superseded_at timestamptz NOT NULL
);
CREATE INDEX reconciled_usage_history_cell ON reconciled_usage_history (reconciliation_id, cell_id);

-- Explained and stand-in figures spread over the Hermes rows that they come from, so that any cut adds up.
CREATE TABLE reconciled_shares (
    reconciliation_id bigint NOT NULL,
    share_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    cell_id uuid NOT NULL,
    event_id uuid NOT NULL,
    share text NOT NULL CHECK (share IN ('explained', 'stand_in')),
    uncached_input bigint,
    cache_read bigint,
    cache_write_5m bigint,
    cache_write_30m bigint,
    cache_write_1h bigint,
    cache_write_12h bigint,
    cache_write_unsplit bigint,
    output bigint,
    reasoning bigint,
    requests bigint,
    images bigint,
    characters bigint,
    seconds bigint,
    sessions bigint,
    searches bigint,
    usage_bytes bigint,
    PRIMARY KEY (reconciliation_id, share_id)
);
CREATE TABLE reconciled_shares_history (
    LIKE reconciled_shares,
    superseded_at timestamptz NOT NULL
);

-- Differences and problems. A finding is open until its figures agree again; last_seen of an open one is the newest
-- reconciliation of its day.
CREATE TABLE findings (
    finding_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity bytea NOT NULL,
    code text NOT NULL,
    workspace_id integer NOT NULL REFERENCES workspaces,
    day date NOT NULL,
    provider text,
    account text,
    route text,
    family text,
    model text,
    feed_id integer REFERENCES feeds,
    endpoint text,
    measure text,
    figure_provider numeric,
    figure_hermes numeric,
    difference numeric,
    explanation text NOT NULL,
    first_seen timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    closed_at timestamptz,
    acknowledged_at timestamptz
);
CREATE UNIQUE INDEX findings_open ON findings (identity) WHERE closed_at IS NULL;
CREATE INDEX findings_day ON findings (day, workspace_id);

-- Telemetry of one run over one key: what was processed, stored, waited for, and what went wrong.
CREATE TABLE ingestion_runs (
    ingestion_run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    orchestrator_run_id text,
    feed_id integer REFERENCES feeds,
    stage text NOT NULL,
    first_day date NOT NULL,
    end_day date NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('processed', 'skipped', 'failed')),
    figures jsonb NOT NULL,
    error_code text,
    error text
);
CREATE INDEX ingestion_runs_newest ON ingestion_runs (started_at DESC);

-- The token buckets of the providers' request rates, shared by every process.
CREATE TABLE request_rates (
    provider text NOT NULL,
    account text NOT NULL,
    tokens double precision NOT NULL,
    filled_at timestamptz NOT NULL,
    PRIMARY KEY (provider, account)
);

-- Who changed what of keys, feeds, policies and settings, and when.
CREATE TABLE audit_log (
    audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    what text NOT NULL,
    subject text NOT NULL,
    detail jsonb NOT NULL
);
