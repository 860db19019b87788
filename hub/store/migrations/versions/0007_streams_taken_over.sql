-- What was told before the database was put back, as Kafka holds it: it keeps its place in the stream, but no leaf of
-- this log stands for it. A recommendation keeps the proof that it was sent with, a forward its author's signature.
ALTER TABLE outbox ADD COLUMN told_before boolean NOT NULL DEFAULT false, ADD COLUMN tlog_proof bytea;
ALTER TABLE outbox DROP CONSTRAINT outbox_typ_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_typ_check CHECK (typ IN ('event', 'recommendation', 'forward'));
ALTER TABLE outbox ADD CHECK (NOT told_before OR (value IS NOT NULL AND leaf_index IS NULL));
