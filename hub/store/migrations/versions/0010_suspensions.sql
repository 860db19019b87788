-- What one person signed to stop a key at once. Whether it still counts is the registry's to say.
CREATE TABLE suspensions (
    sha256     text        PRIMARY KEY,
    act        text        NOT NULL,
    log_index  bigint      NOT NULL UNIQUE,
    applied_at timestamptz NOT NULL
);
CREATE TRIGGER suspensions_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON suspensions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER registry_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON registry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();

-- How many there are: like the version it is compared under the log's lock, so that no message slips past either.
ALTER TABLE log ADD COLUMN suspensions int NOT NULL DEFAULT 0 CHECK (suspensions >= 0);
