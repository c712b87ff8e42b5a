-- Which stored quote a workspace's day was computed with. It stays, whatever the price book says later, until somebody
-- reprices the day. Quotes without rates are never here.
CREATE TABLE prices_in_force (
    workspace_id integer NOT NULL REFERENCES workspaces,
    day date NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    variant text NOT NULL,
    price_id bigint NOT NULL REFERENCES prices,
    PRIMARY KEY (workspace_id, day, provider, model, variant)
);

-- Days that are reconciled already keep the newest quote of what they may have used.
INSERT INTO prices_in_force (workspace_id, day, provider, model, variant, price_id)
SELECT c.workspace_id, c.day, newest.provider, newest.model, newest.variant, newest.price_id
FROM reconciliations AS c
JOIN (
    SELECT DISTINCT ON (day, provider, model, variant) day, provider, model, variant, price_id
    FROM prices
    WHERE rates IS NOT NULL
    ORDER BY day, provider, model, variant, price_id DESC
) AS newest ON newest.day = c.day
WHERE EXISTS (
    SELECT 1 FROM reconciled_usage AS r
    WHERE r.reconciliation_id = c.reconciliation_id AND r.provider = newest.provider AND r.cost_computed_usd IS NOT NULL
);

-- Prices of one's own, before the price lists. Rates by class, or a factor of the list price. Never deleted: an end
-- moves effective_to, and one that is taken back from its first day on has ended_at and no days left (effective_to =
-- effective_from). Null: workspace_id is every workspace, variant every variant.
CREATE TABLE price_overrides (
    override_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id integer REFERENCES workspaces,
    provider text NOT NULL,
    model text NOT NULL,
    variant text,
    rates jsonb,
    factor numeric CHECK (factor >= 0 AND factor < 1),
    effective_from date NOT NULL,
    effective_to date CHECK (effective_to >= effective_from),
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK ((rates IS NULL) <> (factor IS NULL)),
    CHECK (factor IS NOT NULL OR (model <> '*' AND variant IS NOT NULL))
);

-- The versions of the prices behind the computed cost. Null: none, or recorded before versions were.
ALTER TABLE reconciled_usage ADD COLUMN cost_computed_version text;
ALTER TABLE reconciled_usage_history ADD COLUMN cost_computed_version text;

-- Where a day used one version, it is known; any other row gets its versions when its day is next reconciled.
UPDATE reconciled_usage AS r
SET cost_computed_version = used.version
FROM (
    SELECT f.workspace_id, f.day, min(p.version) AS version
    FROM prices_in_force AS f JOIN prices AS p USING (price_id)
    GROUP BY f.workspace_id, f.day
    HAVING count(DISTINCT p.version) = 1
) AS used
JOIN reconciliations AS c ON c.workspace_id = used.workspace_id AND c.day = used.day
WHERE r.reconciliation_id = c.reconciliation_id
    AND r.cost_computed_usd IS NOT NULL AND r.cost_computed_basis IS NOT NULL;
