-- A condition that a person should know of, from when it was first seen until it was gone. One that comes back within
-- the window of deduplication is the same alert again.
CREATE TABLE alerts (
    alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint bytea NOT NULL,
    cause text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('error', 'warning')),
    place text NOT NULL,
    what text NOT NULL,
    remedy text NOT NULL,
    link text NOT NULL,
    since timestamptz NOT NULL,
    -- What stands behind it now (days, runs, pulls), by names; how many there ever were is counted.
    occurrences text[] NOT NULL,
    occurrence_count bigint NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    recovered_at timestamptz,
    -- Notices are numbered: 1 when it opened, one more for each repeat and recovery that is to be told.
    notice integer NOT NULL,
    noticed_at timestamptz NOT NULL,
    noticed_count bigint NOT NULL,
    noticed_open boolean NOT NULL,
    more_count bigint NOT NULL DEFAULT 0,
    more_since timestamptz,
    notified_at timestamptz,
    recovery_notified_at timestamptz
);
CREATE UNIQUE INDEX alerts_open ON alerts (fingerprint) WHERE recovered_at IS NULL;
CREATE INDEX alerts_recovered ON alerts (recovered_at) WHERE recovered_at IS NOT NULL;

-- What a receiver knows of an alert: the newest notice that it accepted (0: none), and the attempts since.
CREATE TABLE alert_deliveries (
    alert_id bigint NOT NULL REFERENCES alerts ON DELETE CASCADE,
    receiver text NOT NULL,
    notice integer NOT NULL,
    accepted_at timestamptz,
    attempts integer NOT NULL,
    last_attempt_at timestamptz NOT NULL,
    last_error text,
    PRIMARY KEY (alert_id, receiver)
);

CREATE INDEX ingestion_runs_of_feed ON ingestion_runs (feed_id, stage, started_at DESC);
CREATE INDEX findings_open_code ON findings (code) WHERE closed_at IS NULL;

-- Sums over every ingestion run that ever was: they stay when old runs are deleted, so that counters never fall.
CREATE TABLE ingestion_totals (
    stage text NOT NULL,
    provider text NOT NULL,
    outcome text NOT NULL,
    runs bigint NOT NULL,
    seconds double precision NOT NULL,
    -- How many took at most 1, 5, 15, 60, 300, 900, 3600 seconds, and longer; each run in one of them.
    durations bigint[] NOT NULL,
    requests bigint NOT NULL,
    pages bigint NOT NULL,
    rows_read bigint NOT NULL,
    seconds_waited double precision NOT NULL,
    events_stored bigint NOT NULL,
    events_updated bigint NOT NULL,
    events_removed bigint NOT NULL,
    events_unchanged bigint NOT NULL,
    PRIMARY KEY (stage, provider, outcome)
);
CREATE TABLE ingestion_issues (
    provider text NOT NULL,
    code text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (provider, code)
);

WITH runs AS (
    SELECT r.stage, coalesce(k.provider, '') AS provider, r.outcome, r.figures,
           CAST(extract(epoch FROM r.finished_at - r.started_at) AS double precision) AS seconds
    FROM ingestion_runs AS r LEFT JOIN provider_keys AS k USING (feed_id)
)
INSERT INTO ingestion_totals
SELECT stage, provider, outcome, count(*), sum(seconds),
       ARRAY[count(*) FILTER (WHERE seconds <= 1),
             count(*) FILTER (WHERE seconds > 1 AND seconds <= 5),
             count(*) FILTER (WHERE seconds > 5 AND seconds <= 15),
             count(*) FILTER (WHERE seconds > 15 AND seconds <= 60),
             count(*) FILTER (WHERE seconds > 60 AND seconds <= 300),
             count(*) FILTER (WHERE seconds > 300 AND seconds <= 900),
             count(*) FILTER (WHERE seconds > 900 AND seconds <= 3600),
             count(*) FILTER (WHERE seconds > 3600)],
       coalesce(sum(CAST(figures ->> 'requests' AS bigint)), 0),
       coalesce(sum(CAST(figures ->> 'pages' AS bigint)), 0),
       coalesce(sum(CAST(figures ->> 'rows' AS bigint)), 0),
       coalesce(sum(CAST(figures ->> 'seconds_waited' AS double precision)), 0),
       0, 0, 0, 0
FROM runs GROUP BY stage, provider, outcome;
INSERT INTO ingestion_issues
SELECT k.provider, r.error_code, count(*) FROM ingestion_runs AS r JOIN provider_keys AS k USING (feed_id)
WHERE r.error_code IS NOT NULL GROUP BY k.provider, r.error_code;
