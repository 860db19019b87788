-- Attempts to sign in are what strangers can fill a table with: each month has a partition, which is dropped whole. What
-- comes when there is none for its month stands in the rest, so that nobody is kept out for want of one.
ALTER TABLE attempts RENAME TO attempts_before;
CREATE TABLE attempts (
    id      bigint      GENERATED ALWAYS AS IDENTITY,
    at      timestamptz NOT NULL,
    door    text        NOT NULL CHECK (door IN ('account', 'application')),
    outcome text        NOT NULL CHECK (outcome IN ('passed', 'failed', 'limited')),
    subject bytea       NOT NULL CHECK (length(subject) = 32),
    address text        NOT NULL,
    account text
) PARTITION BY RANGE (at);
CREATE TABLE attempts_rest PARTITION OF attempts DEFAULT;
INSERT INTO attempts (at, door, outcome, subject, address, account)
    SELECT at, door, outcome, subject, address, account FROM attempts_before ORDER BY id;
DROP TABLE attempts_before;
ALTER TABLE attempts ADD PRIMARY KEY (id, at);
CREATE INDEX attempts_failed_of_address ON attempts (door, address, at) WHERE outcome = 'failed';
CREATE INDEX attempts_failed_of_subject ON attempts (door, subject, at) WHERE outcome = 'failed';

-- What is left of a refused record whose bytes went after their time: by it a repeat is known.
ALTER TABLE quarantine ADD COLUMN digest bytea CHECK (length(digest) = 32);
DROP INDEX quarantine_value;
CREATE INDEX quarantine_value ON quarantine (COALESCE(digest, sha256(value)));
CREATE INDEX quarantine_with_bytes ON quarantine (id) WHERE erased_at IS NULL;
