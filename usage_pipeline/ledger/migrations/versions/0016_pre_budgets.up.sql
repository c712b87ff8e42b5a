-- What may be spent in each day, ISO week or month: of a workspace (null: of all real ones together), or of one project,
-- API key, model, cost centre or team in it. Never deleted: an end moves effective_to, and a budget that is taken back
-- from its first day on has no days left (effective_to = effective_from).
CREATE TABLE budgets (
    budget_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id integer REFERENCES workspaces,
    kind text NOT NULL CHECK (kind IN ('workspace', 'project', 'api_key', 'model', 'cost_center', 'team')),
    value text,
    period text NOT NULL CHECK (period IN ('day', 'week', 'month')),
    amount_usd numeric NOT NULL CHECK (amount_usd > 0),
    warning_percent numeric NOT NULL CHECK (warning_percent > 0),
    exceeded_percent numeric NOT NULL CHECK (exceeded_percent > warning_percent),
    effective_from date NOT NULL,
    effective_to date CHECK (effective_to >= effective_from),
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK ((value IS NULL) = (kind = 'workspace'))
);
