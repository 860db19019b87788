-- An original may be erased by order of persons (UU 27/2022). What stays proves that it was there, and is no person's:
-- its identity, its digest, its place. `fact` is what decisions read of it.
ALTER TABLE inbox ALTER COLUMN value DROP NOT NULL, ADD COLUMN fact text, ADD COLUMN erased_at timestamptz;
ALTER TABLE inbox ADD CHECK ((value IS NULL) = (erased_at IS NOT NULL));

-- A recommendation's value goes with the original that it repeats. A tombstone takes it out of the compacted topic.
ALTER TABLE outbox ADD COLUMN erased_at timestamptz;
ALTER TABLE outbox DROP CONSTRAINT outbox_typ_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_typ_check
    CHECK (typ IN ('event', 'recommendation', 'forward', 'tombstone'));
ALTER TABLE outbox DROP CONSTRAINT outbox_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_check
    CHECK (num_nonnulls(inbox_index, value) = CASE WHEN erased_at IS NULL THEN 1 ELSE 0 END);

-- The orders that were carried out. `document` is what persons signed; it names messages and cases and nobody.
CREATE TABLE erasures (
    sha256    text        PRIMARY KEY CHECK (length(sha256) = 64),
    document  text        NOT NULL,
    log_index bigint      NOT NULL UNIQUE,
    erased_at timestamptz NOT NULL,
    messages  int         NOT NULL CHECK (messages >= 0),
    gone_at   timestamptz NOT NULL
);

ALTER TABLE quarantine ALTER COLUMN salt DROP NOT NULL, ADD COLUMN erased_at timestamptz;
