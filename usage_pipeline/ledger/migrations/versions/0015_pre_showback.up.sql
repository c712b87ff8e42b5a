-- Which cost centre and team what counts belongs to: those of the first rule, by position, that holds on the day and
-- whose conditions all match. Never deleted: an end moves effective_to, and a rule that is taken back from its first day
-- on has no days left (effective_to = effective_from). conditions: by dimension the ids, names or patterns of which one
-- must match; none at all match everything.
CREATE TABLE showback_rules (
    rule_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position integer NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED,
    cost_center text,
    team text,
    conditions jsonb NOT NULL CHECK (jsonb_typeof(conditions) = 'object'),
    effective_from date NOT NULL,
    effective_to date CHECK (effective_to >= effective_from),
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK (cost_center IS NOT NULL OR team IS NOT NULL)
);
