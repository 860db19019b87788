-- In the order in which intake writes them, so that neither waits for the other.
LOCK TABLE inbox, quarantine IN SHARE ROW EXCLUSIVE MODE;

-- One person may have several accounts; who approves must be another person than who asked.
ALTER TABLE accounts ADD COLUMN person text CHECK (person ~ '^[a-z][a-z0-9._-]{1,62}$');

-- What operators ask, in order. Pages may add to it and nothing else; the process `deadlines` judges each, carries it
-- out and notes what came of it. `token` is given with a form, so that a form sent twice asks once.
CREATE TABLE repair_actions (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token       uuid        NOT NULL UNIQUE,
    verb        text        NOT NULL CHECK (verb IN ('look', 'send_back', 'rehearse', 'request', 'approve', 'stop')),
    parked_id   bigint,
    code        text,
    participant text,
    messages_max int        CHECK (messages_max > 0),
    repair_id   bigint,
    digest      text        CHECK (length(digest) = 64),
    actor       text        NOT NULL REFERENCES accounts,
    reason      text        NOT NULL CHECK (length(reason) BETWEEN 8 AND 300),
    at          timestamptz NOT NULL DEFAULT now(),
    settled_at  timestamptz,
    outcome     text,
    log_index   bigint,
    CHECK ((outcome IS NULL) = (settled_at IS NULL)),
    CHECK ((repair_id IS NOT NULL) = (verb IN ('request', 'approve', 'stop'))),
    CHECK (verb <> 'look' OR parked_id IS NOT NULL),
    CHECK (verb NOT IN ('send_back', 'rehearse') OR (parked_id IS NULL) <> (code IS NULL))
);
CREATE INDEX repair_actions_waiting ON repair_actions (id) WHERE settled_at IS NULL;
CREATE INDEX repair_actions_of_parked ON repair_actions (parked_id, id) WHERE parked_id IS NOT NULL;
CREATE INDEX repair_actions_of_repair ON repair_actions (repair_id, id) WHERE repair_id IS NOT NULL;

-- A dry run and what became of it. `document` is all that it showed, `digest` its SHA-256: who asks for it and who
-- approves it name that digest. The id is that of the action that asked for the dry run.
CREATE TABLE repairs (
    id               bigint      PRIMARY KEY REFERENCES repair_actions,
    state            text        NOT NULL CHECK (state IN
        ('rehearsed', 'requested', 'running', 'stopped', 'finished')),
    rehearsed_by     text        NOT NULL,
    rehearsed_at     timestamptz NOT NULL,
    registry_version int         NOT NULL,
    suspensions      bigint      NOT NULL,
    digest           text        NOT NULL CHECK (length(digest) = 64),
    document         text        NOT NULL,
    messages         int         NOT NULL CHECK (messages >= 0),
    requested_by     text,
    requested_at     timestamptz,
    reason           text,
    approved_by      text,
    approved_at      timestamptz,
    ended_by         text,
    ended_at         timestamptz,
    CHECK (approved_by <> requested_by)
);
CREATE INDEX repairs_running ON repairs (approved_at, id) WHERE state = 'running';

CREATE TABLE repair_items (
    repair_id bigint NOT NULL REFERENCES repairs,
    parked_id bigint NOT NULL REFERENCES quarantine,
    digest    bytea  NOT NULL CHECK (length(digest) = 32),
    expected  text   NOT NULL CHECK (expected IN ('accepted', 'duplicate')),
    outcome   text   CHECK (outcome IN ('accepted', 'duplicate', 'changed', 'failed')),
    done_at   timestamptz,
    PRIMARY KEY (repair_id, parked_id),
    CHECK ((outcome IS NULL) = (done_at IS NULL))
);
CREATE INDEX repair_items_waiting ON repair_items (repair_id, parked_id) WHERE outcome IS NULL;
CREATE INDEX repair_items_done ON repair_items (done_at) WHERE done_at IS NOT NULL;

-- Refused messages whose sender was asked to correct them, each once.
CREATE TABLE sent_back (
    parked_id bigint      PRIMARY KEY REFERENCES quarantine,
    action_id bigint      NOT NULL REFERENCES repair_actions,
    at        timestamptz NOT NULL
);

-- Accepted messages that name another one as their cause. Where that one was refused, this is its correction.
CREATE TABLE corrections (
    log_index   bigint PRIMARY KEY,
    participant text   NOT NULL,
    source      text   NOT NULL,
    cause       text   NOT NULL,
    noted       boolean NOT NULL DEFAULT false
);
CREATE INDEX corrections_waiting ON corrections (log_index) WHERE NOT noted;
CREATE INDEX quarantine_event ON quarantine (source, event_id) WHERE resolved_at IS NULL AND event_id IS NOT NULL;

-- The bytes of a refused message are given against an action that says who looks, and why, and only for a while.
CREATE FUNCTION look_at_parked(action bigint) RETURNS TABLE (key bytea, value bytea, headers text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT q.key, q.value, q.headers FROM public.repair_actions a JOIN public.quarantine q ON q.id = a.parked_id
    WHERE a.id = action AND a.verb = 'look' AND a.at > now() - INTERVAL '5 minutes'
$$;

-- What a participant signed stays as it came, or goes whole, by an order of erasure; whoever asks for anything else.
CREATE FUNCTION refuse_change_of_original() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what a participant signed is never changed';
END $$;
CREATE TRIGGER originals_stay BEFORE UPDATE ON inbox FOR EACH ROW WHEN (
    (NEW.value IS DISTINCT FROM OLD.value AND NEW.value IS NOT NULL)
    OR NEW.jws IS DISTINCT FROM OLD.jws OR NEW.jws_proof IS DISTINCT FROM OLD.jws_proof)
    EXECUTE FUNCTION refuse_change_of_original();
CREATE TRIGGER originals_stay BEFORE UPDATE ON quarantine FOR EACH ROW WHEN (
    (NEW.value IS DISTINCT FROM OLD.value AND NEW.value IS NOT NULL)
    OR (NEW.key IS DISTINCT FROM OLD.key AND NEW.key IS NOT NULL)
    OR (NEW.headers IS DISTINCT FROM OLD.headers AND NEW.headers <> '[]'))
    EXECUTE FUNCTION refuse_change_of_original();
CREATE TRIGGER what_operators_asked_stays BEFORE DELETE OR TRUNCATE ON repair_actions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();
