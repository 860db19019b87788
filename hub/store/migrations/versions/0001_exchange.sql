-- Where each partition of each input topic has been consumed up to. The row is the lock of its partition's owner.
CREATE TABLE watermark (
    topic_id   text   NOT NULL,
    partition  int    NOT NULL,
    topic      text   NOT NULL,
    next       bigint NOT NULL CHECK (next >= 0),
    PRIMARY KEY (topic_id, partition)
) WITH (fillfactor = 50);

-- The stretches that were consumed, or lost to the topic's retention. Together they tile the partition.
CREATE TABLE watermark_interval (
    topic_id    text        NOT NULL,
    partition   int         NOT NULL,
    from_offset bigint      NOT NULL,
    to_offset   bigint      NOT NULL CHECK (to_offset > from_offset),
    kind        text        NOT NULL CHECK (kind IN ('consumed', 'lost')),
    received_at timestamptz NOT NULL,
    PRIMARY KEY (topic_id, partition, from_offset)
);

-- Every accepted message, once, as the bytes that were signed. `identity` is the first half of the SHA-256 of source,
-- space and id: identities come in no order, so their index must be small enough to stay in memory.
CREATE TABLE inbox (
    log_index   bigint      NOT NULL,
    sequence    bigint      NOT NULL,
    time        timestamptz NOT NULL,
    append_time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    "offset"    bigint      NOT NULL,
    partition   int         NOT NULL,
    topic_id    text        NOT NULL,
    source      text        NOT NULL,
    id          text        NOT NULL,
    type        text        NOT NULL,
    participant text        NOT NULL,
    kid         text        NOT NULL,
    subject     text        NOT NULL,
    identity    bytea       NOT NULL CHECK (length(identity) = 16),
    digest      bytea       NOT NULL CHECK (length(digest) = 32),
    value       bytea       NOT NULL,
    jws         text        NOT NULL,
    jws_proof   text,
    PRIMARY KEY (identity),
    CONSTRAINT inbox_sequence_key UNIQUE (source, sequence),
    CONSTRAINT inbox_log_index_key UNIQUE (log_index)
);
-- A signed JSON value does not compress enough to be worth the processor time, and is cheapest to keep in its row.
ALTER TABLE inbox ALTER COLUMN value SET STORAGE EXTERNAL;
ALTER TABLE inbox SET (toast_tuple_target = 8160);

-- Facts that know a billing code; they wait here until a case claims the code.
CREATE TABLE billing_codes (
    code       text PRIMARY KEY,
    case_id    text,
    facts      text NOT NULL DEFAULT '[]',
    told       text NOT NULL DEFAULT '{}',
    decided_at timestamptz
) WITH (fillfactor = 70);

CREATE TABLE cases (
    id         text PRIMARY KEY,
    facts      text NOT NULL DEFAULT '[]',
    personal   text,
    standing   text,
    told       text NOT NULL DEFAULT '{}',
    rule_set   text,
    decided_at timestamptz
) WITH (fillfactor = 70, toast_tuple_target = 8160);
ALTER TABLE cases SET (toast_tuple_target = 8160);
CREATE INDEX billing_codes_of_case ON billing_codes (case_id) WHERE case_id IS NOT NULL;

-- One row: the lock that orders everything. It is the last lock of every transaction.
CREATE TABLE log (
    id               int    PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    origin           text   NOT NULL,
    next_index       bigint NOT NULL CHECK (next_index >= 0),
    registry_version int    NOT NULL CHECK (registry_version >= 0)
) WITH (fillfactor = 10);
INSERT INTO log (origin, next_index, registry_version) VALUES ('', 0, 0);

CREATE TABLE leaves (
    log_index bigint PRIMARY KEY,
    entry     bytea  NOT NULL CHECK (length(entry) <= 65535)
);
CREATE FUNCTION refuse_change_of_evidence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'evidence is only ever added to';
END $$;
CREATE TRIGGER leaves_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON leaves
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();

-- The next hub-seq of each output partition; locked under the log row.
CREATE TABLE streams (
    topic     text   NOT NULL,
    partition int    NOT NULL,
    next_seq  bigint NOT NULL CHECK (next_seq >= 1),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 10);

-- What goes out. A forward names its inbox row by log index; the hub's own event carries its value.
CREATE TABLE outbox (
    seq         bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    inbox_index bigint,
    leaf_index  bigint,
    partition   int         NOT NULL,
    topic       text        NOT NULL,
    key         text        NOT NULL,
    typ         text        NOT NULL CHECK (typ IN ('event', 'recommendation')),
    value       bytea,
    PRIMARY KEY (topic, partition, seq),
    CHECK ((inbox_index IS NULL) <> (value IS NULL))
);
ALTER TABLE outbox ALTER COLUMN value SET STORAGE EXTERNAL;
ALTER TABLE outbox SET (toast_tuple_target = 8160);

-- Signatures of the hub's own events, stored before the Kafka commit so that a redo sends the same bytes.
CREATE TABLE outbox_signature (
    seq       bigint NOT NULL,
    partition int    NOT NULL,
    topic     text   NOT NULL,
    jws       text   NOT NULL,
    jws_proof text,
    PRIMARY KEY (topic, partition, seq)
);

CREATE TABLE relay_position (
    topic     text   NOT NULL,
    partition int    NOT NULL,
    seq       bigint NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 10);

-- Refused records: bytes kept for the operator, the log holds a salted hash only.
CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL,
    detail      text        NOT NULL,
    fault       text        NOT NULL CHECK (fault IN ('sender', 'hub', 'nobody')),
    participant text,
    event_id    text,
    source      text,
    topic       text        NOT NULL,
    topic_id    text        NOT NULL,
    partition   int         NOT NULL,
    "offset"    bigint      NOT NULL,
    key         bytea,
    value       bytea,
    headers     text        NOT NULL,
    append_time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    salt        bytea       NOT NULL CHECK (length(salt) = 16),
    log_index   bigint      NOT NULL UNIQUE,
    traceback   text,
    resolved_at timestamptz,
    resolution  text,
    UNIQUE (topic_id, partition, "offset")
);

-- Not yet: a key, participant or contract that the registry may learn of soon.
CREATE TABLE deferred (
    topic_id         text        NOT NULL,
    partition        int         NOT NULL,
    "offset"         bigint      NOT NULL,
    topic            text        NOT NULL,
    key              bytea,
    value            bytea,
    headers          text        NOT NULL,
    append_time      timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    code             text        NOT NULL,
    detail           text        NOT NULL,
    participant      text,
    registry_version int         NOT NULL,
    due_at           timestamptz NOT NULL,
    PRIMARY KEY (topic_id, partition, "offset")
);
CREATE INDEX deferred_due ON deferred (due_at);

CREATE TABLE registry (
    version    int         PRIMARY KEY,
    document   text        NOT NULL,
    log_index  bigint      NOT NULL,
    applied_at timestamptz NOT NULL
);

CREATE TABLE rule_sets (
    id        text   NOT NULL,
    version   int    NOT NULL,
    sha256    text   NOT NULL,
    document  text   NOT NULL,
    log_index bigint NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE TABLE contracts (
    type      text   NOT NULL,
    sha256    text   NOT NULL,
    log_index bigint NOT NULL,
    PRIMARY KEY (type, sha256)
);

CREATE TABLE timers (
    name    text        NOT NULL,
    subject text        NOT NULL,
    due_at  timestamptz NOT NULL,
    PRIMARY KEY (name, subject)
);
CREATE INDEX timers_due ON timers (due_at);

CREATE TABLE assertions (
    jti        text        PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

CREATE TABLE source_sequences (
    source     text   PRIMARY KEY,
    contiguous bigint NOT NULL
);
