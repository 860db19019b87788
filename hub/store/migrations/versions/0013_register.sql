-- The register of foreign workers, as the dossiers come to: one row for each application that was approved at some time.
-- `entry` holds the whole of it, by references that only the Ministry can resolve; the other columns are for finding it.
-- `differs_from` is the first day on which the agencies may not agree about it.
CREATE TABLE register (
    application  text   PRIMARY KEY,
    entry        text   NOT NULL,
    unit         text   NOT NULL,
    kanim        text   NOT NULL,
    regencies    text[] NOT NULL,
    begins_on    date   NOT NULL,
    last_day     date   NOT NULL,
    differs_from date
) WITH (fillfactor = 80);
CREATE INDEX register_regencies ON register USING gin (regencies);
CREATE INDEX register_last_day ON register (last_day);
CREATE INDEX register_of_unit ON register (unit, application);
CREATE INDEX register_of_kanim ON register (kanim, application);
CREATE INDEX register_differs ON register (differs_from) WHERE differs_from IS NOT NULL;

-- What each grantee was told last of an application: the digest of the entry, or none once it has left.
CREATE TABLE register_shared (
    participant text  NOT NULL,
    application text  NOT NULL,
    revision    int   NOT NULL CHECK (revision >= 1),
    digest      bytea CHECK (length(digest) = 32),
    PRIMARY KEY (participant, application)
) WITH (fillfactor = 80);

-- By which terms a grantee was told, and up to which application, where it is still being told of all for the first
-- time or because its terms have changed.
CREATE TABLE register_grants (
    participant text PRIMARY KEY,
    terms       text NOT NULL,
    told_to     text
);

ALTER TABLE accounts DROP CONSTRAINT accounts_role_check, DROP CONSTRAINT accounts_check1;
ALTER TABLE accounts
    ADD CONSTRAINT accounts_role_check CHECK (role IN
        ('officer', 'bank', 'immigration', 'labour_office', 'oversight', 'minister', 'operator')),
    ADD CONSTRAINT accounts_check1 CHECK ((role IN ('bank', 'labour_office')) = (participant IS NOT NULL));

-- Whoever is in work already is entered when the dossiers are looked at next.
UPDATE dossiers SET wakes_at = now() WHERE facts LIKE '%id.tka.ministry.permit.approved.v1%';
