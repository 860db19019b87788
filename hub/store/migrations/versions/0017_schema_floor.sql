-- The oldest schema revision whose hub may work on this database; each migration writes it.
CREATE TABLE schema_floor (
    one     boolean PRIMARY KEY CHECK (one),
    version text    NOT NULL
);
