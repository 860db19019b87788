-- Every look-up of somebody's file: who, what, why and when. The oversight body's are sealed to its own key (HPKE), with
-- the day alone in the open, so that whoever is looked into cannot read of it here.
CREATE TABLE lookups (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day     date        NOT NULL,
    at      timestamptz,
    role    text,
    actor   text,
    page    text,
    subject text,
    reason  text,
    sealed  bytea,
    CHECK (CASE WHEN sealed IS NULL THEN num_nulls(at, role, actor, page, subject, reason) = 0
        ELSE num_nonnulls(at, role, actor, page, subject, reason) = 0 END)
);
CREATE INDEX lookups_day ON lookups (day, id);
CREATE INDEX lookups_of_subject ON lookups (subject, id) WHERE subject IS NOT NULL;
CREATE TRIGGER lookups_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON lookups
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();

-- A case's recommendations, without reading the whole stream.
CREATE INDEX outbox_recommendations ON outbox (key, leaf_index) WHERE topic = 'recommendations';
