-- What overseers compute from: everything that was said of one application, or of a billing code that no case claims.
-- `facts` outlive the erasure of an original and hold no personal data. `told` are the service times of which a warning
-- or breach was told, `groups` the names under which the file is judged beside others. Time alone may make a dossier
-- worth another look, at `wakes_at`.
CREATE TABLE dossiers (
    subject  text        PRIMARY KEY,
    facts    text        NOT NULL DEFAULT '[]',
    told     text        NOT NULL DEFAULT '{}',
    groups   text[]      NOT NULL DEFAULT '{}',
    wakes_at timestamptz
) WITH (fillfactor = 70, toast_tuple_target = 8160);
CREATE INDEX dossiers_wake ON dossiers (wakes_at) WHERE wakes_at IS NOT NULL;
CREATE INDEX dossiers_of_group ON dossiers USING gin (groups);

-- The groups of files that have changed since they were last judged.
CREATE TABLE dossier_groups (
    name text PRIMARY KEY
);

-- One row: how far the log has been followed.
CREATE TABLE oversight_position (
    id         int    PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    next_index bigint NOT NULL CHECK (next_index >= 0)
) WITH (fillfactor = 10);
INSERT INTO oversight_position (next_index) VALUES (0);

-- Recommendations stand in the outbox alone; they are followed by their place in the log.
CREATE INDEX outbox_leaf ON outbox (leaf_index) WHERE leaf_index IS NOT NULL;

-- Leads: opened, closed when the facts do not show them any more, never deleted. The log holds the salted digest of
-- `lead` under `name`, which tells nobody what it is about.
CREATE TABLE findings (
    number       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text        NOT NULL,
    revision     int         NOT NULL CHECK (revision >= 1),
    scope        text        NOT NULL,
    finding      text        NOT NULL,
    subject      text        NOT NULL,
    rule_set     text        NOT NULL,
    lead         text        NOT NULL,
    name         text        NOT NULL UNIQUE,
    salt         bytea       NOT NULL CHECK (length(salt) = 16),
    opened_at    timestamptz NOT NULL,
    opened_index bigint      NOT NULL,
    closed_at    timestamptz,
    closed_index bigint,
    UNIQUE (id, revision),
    CHECK ((closed_at IS NULL) = (closed_index IS NULL))
);
CREATE INDEX findings_open ON findings (scope) WHERE closed_at IS NULL;
CREATE FUNCTION refuse_deletion_of_findings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a finding is closed and never deleted';
END $$;
CREATE TRIGGER findings_are_kept BEFORE DELETE OR TRUNCATE ON findings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_deletion_of_findings();
