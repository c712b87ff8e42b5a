-- A comparison of the store with a provider's own export that was made to its end; one that failed is not here.
-- workspace is null where every workspace of the account was compared. The range is half-open.
CREATE TABLE parity_checks (
    parity_check_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    workspace text,
    provider text NOT NULL,
    account text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('usage', 'cost')),
    files jsonb NOT NULL,
    first_at timestamptz NOT NULL,
    end_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('equal', 'different')),
    totals jsonb NOT NULL,
    CHECK (first_at < end_at)
);

-- What a comparison found of a family's UTC day, for each slice that was compared with every row of its own (null:
-- there is none). content_digest is what the slice held then.
CREATE TABLE parity_days (
    parity_check_id bigint NOT NULL REFERENCES parity_checks ON DELETE CASCADE,
    provider text NOT NULL,
    account text NOT NULL,
    family text NOT NULL,
    day date NOT NULL,
    kind text NOT NULL CHECK (kind IN ('usage', 'cost')),
    slice_id bigint REFERENCES slices ON DELETE CASCADE,
    content_digest bytea,
    final boolean NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('equal', 'different', 'not_covered', 'partial')),
    UNIQUE NULLS NOT DISTINCT (parity_check_id, family, day, slice_id)
);
CREATE INDEX parity_days_slice ON parity_days (slice_id);
CREATE INDEX parity_days_day ON parity_days (provider, account, day);
