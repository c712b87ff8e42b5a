-- Who made a change: USAGE_ACTOR, or the user of the operating system. Null: recorded before it was asked.
ALTER TABLE audit_log ADD COLUMN actor text;
CREATE INDEX audit_log_settings ON audit_log (audit_id) WHERE what = 'settings_changed';

-- What retention took away. A pruned raw page or payload keeps its row and its digest, and has an empty body; of the
-- history of a workspace's day, versions that were superseded at pruned_until or before are gone.
CREATE TABLE pruned_history (
    workspace_id integer NOT NULL REFERENCES workspaces,
    day date NOT NULL,
    pruned_until timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, day)
);

-- Ids of persons that were erased, as a keyed hash, never the id itself. The hash's key is sealed with the encryption
-- keys, so that the database alone does not tell whether an id is here.
CREATE TABLE erasure_secret (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    secret_sealed bytea NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE erased_ids (
    provider text NOT NULL,
    account text NOT NULL,
    id_hash bytea NOT NULL,
    erased_at timestamptz NOT NULL,
    PRIMARY KEY (provider, account, id_hash)
);

-- Raw pages that are not verbatim any more, since an erased id was replaced in them; digest is that of the page as it
-- came.
CREATE TABLE redacted_pages (
    pull_id bigint NOT NULL,
    page_number integer NOT NULL,
    digest bytea NOT NULL,
    redacted_at timestamptz NOT NULL,
    PRIMARY KEY (pull_id, page_number),
    FOREIGN KEY (pull_id, page_number) REFERENCES raw_pages ON DELETE CASCADE
);
