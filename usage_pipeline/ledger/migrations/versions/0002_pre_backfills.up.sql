-- A backfill that was asked for: the half-open range of UTC days and the slugs of the keys, in the order of pulling.
CREATE TABLE backfills (
    backfill_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_day date NOT NULL,
    end_day date NOT NULL,
    key_slugs text[] NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK (first_day < end_day)
);
CREATE INDEX backfills_unfinished ON backfills (backfill_id) WHERE finished_at IS NULL;

-- A run of a backfill that is over: a key's pull of some days (step is its slug), or their reconciling (step is empty).
CREATE TABLE backfill_steps (
    backfill_id integer NOT NULL REFERENCES backfills ON DELETE CASCADE,
    step text NOT NULL,
    first_day date NOT NULL,
    end_day date NOT NULL,
    state text NOT NULL CHECK (state IN ('done', 'failed')),
    run_id text NOT NULL,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (backfill_id, step, first_day, end_day),
    CHECK (first_day < end_day)
);
