-- What the hub counted of each participant's day, as it was told. The days of a participant tile the log.
CREATE TABLE day_counts (
    participant text        NOT NULL,
    day         date        NOT NULL,
    first_index bigint      NOT NULL CHECK (first_index >= 0),
    log_size    bigint      NOT NULL CHECK (log_size >= first_index),
    made_at     timestamptz NOT NULL,
    document    text        NOT NULL,
    PRIMARY KEY (participant, day)
);
CREATE TRIGGER day_counts_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON day_counts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();

-- What participants counted themselves, each statement with how it compares. The newest of a day and source counts.
CREATE TABLE count_statements (
    log_index   bigint      PRIMARY KEY,
    participant text        NOT NULL,
    day         date        NOT NULL,
    source      text        NOT NULL,
    verdict     text        NOT NULL CHECK (verdict IN ('agrees', 'differs', 'unknown')),
    detail      text        NOT NULL,
    judged_at   timestamptz NOT NULL
);
CREATE INDEX count_statements_of_day ON count_statements (participant, day, source, log_index);
CREATE TRIGGER count_statements_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON count_statements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();

-- Statements are one in a day among very many messages, and are looked for every few seconds.
CREATE INDEX inbox_count_statements ON inbox (log_index) WHERE type LIKE 'id.tka.%.count.stated.v1';
-- A record that came twice is refused twice and counts once.
CREATE INDEX quarantine_value ON quarantine (sha256(value));

-- The number that the author of a refused record used for it, where author and envelope are known: the leaf names it.
ALTER TABLE quarantine ADD COLUMN sequence bigint;
