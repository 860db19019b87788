-- What lists, boards and statistics read of each application, kept by the overseer whenever it looks at a dossier, so
-- that no page reads a dossier, and none reads more rows than it shows. `last_index` is the place in the log of the last
-- word that a participant said of it. `task` is what the ministry has to do beside deciding. A file counts in no figure
-- of a month that begins behind `closes_on`. `observed` is what statistics read, `handled` what overseers are told.
CREATE TABLE files (
    application text COLLATE "C" PRIMARY KEY,
    unit        text COLLATE "C" NOT NULL,
    stage       text        NOT NULL,
    holder      text        NOT NULL,
    since       timestamptz NOT NULL,
    last_index  bigint      NOT NULL,
    clock       boolean     NOT NULL,
    due_on      date,
    paused      boolean     NOT NULL,
    task        text CHECK (task IN ('reversed', 'paid', 'queried')),
    closes_on   date        NOT NULL,
    observed    text        NOT NULL,
    handled     text        NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX files_moved ON files (last_index DESC);
CREATE INDEX files_of_unit ON files (unit, application);
CREATE INDEX files_due ON files (unit, due_on, application) WHERE due_on IS NOT NULL;
CREATE INDEX files_task ON files (unit, task, since, application) WHERE task IS NOT NULL;
CREATE INDEX files_closing ON files (closes_on);

-- Whether `files` says what the dossier says. One that is not listed yet is counted from its facts.
ALTER TABLE dossiers ADD COLUMN listed boolean NOT NULL DEFAULT false;
CREATE INDEX dossiers_unlisted ON dossiers (subject) WHERE NOT listed;

-- A month's statistics, with what they were computed from: a checkpoint's size and root, and the rule sets. The running
-- month is provisional and counted again; a month that is over is counted once. `wholes` are the figures about all files,
-- `figures` all of them, and `handling` is what overseers are told.
CREATE TABLE monthly_statistics (
    month      date        PRIMARY KEY CHECK (extract(day FROM month) = 1),
    final      boolean     NOT NULL,
    log_size   bigint      NOT NULL CHECK (log_size >= 0),
    log_root   text        NOT NULL,
    rule_sets  text        NOT NULL,
    counted_at timestamptz NOT NULL,
    wholes     text        NOT NULL,
    figures    text        NOT NULL,
    handling   text        NOT NULL
);
CREATE FUNCTION refuse_change_of_a_month() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.final THEN
        RAISE EXCEPTION 'the statistics of a month that is over are counted once';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER months_are_final BEFORE UPDATE OR DELETE ON monthly_statistics
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_a_month();
CREATE TRIGGER months_are_kept BEFORE TRUNCATE ON monthly_statistics
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();

-- What operators did by hand is little among very many leaves, and overseers look for it.
CREATE INDEX leaves_of_operators ON leaves (log_index) WHERE position('"kind":"operator_action"'::bytea IN entry) > 0;
-- Findings, page by page.
CREATE INDEX findings_of_kind ON findings (finding, number) WHERE closed_at IS NULL;
