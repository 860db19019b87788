-- How many leaves are in the tree: one row, moved by `WHERE size = <from>` alone, so that of two sequencers one moves it.
CREATE TABLE tree (
    id   int    PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    size bigint NOT NULL CHECK (size >= 0)
) WITH (fillfactor = 10);
INSERT INTO tree (size) VALUES (0);

-- The whole tiles of the hash tree. Those that are not whole yet are computed, from the leaves or the roots below.
CREATE TABLE tiles (
    level  int    NOT NULL CHECK (level BETWEEN 0 AND 63),
    index  bigint NOT NULL CHECK (index >= 0),
    root   bytea  NOT NULL CHECK (length(root) = 32),
    hashes bytea  NOT NULL CHECK (length(hashes) = 8192),
    PRIMARY KEY (level, index)
);
-- Hashes do not compress.
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- What the log said of itself. There is one root for a size, whoever signs.
CREATE TABLE checkpoints (
    size      bigint      PRIMARY KEY CHECK (size >= 0),
    signed_at timestamptz NOT NULL,
    note      text        NOT NULL
);

-- What witnesses said of it, each under its verifier key's text; verified before they were stored.
CREATE TABLE cosignatures (
    size    bigint NOT NULL REFERENCES checkpoints,
    witness text   NOT NULL,
    line    text   NOT NULL,
    PRIMARY KEY (size, witness)
);

CREATE TRIGGER tiles_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON tiles
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER checkpoints_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER cosignatures_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON cosignatures
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();
CREATE TRIGGER tree_stays BEFORE DELETE OR TRUNCATE ON tree
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();
CREATE FUNCTION refuse_a_smaller_tree() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size <= OLD.size THEN
        RAISE EXCEPTION 'the tree only ever grows';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tree_grows BEFORE UPDATE ON tree FOR EACH ROW EXECUTE FUNCTION refuse_a_smaller_tree();

