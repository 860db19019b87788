-- Each look-up has a salt and a leaf; a day that is over has a root, of which the evidence log keeps a copy.
-- What was looked up before has no leaf and stays outside of any root.
ALTER TABLE lookups
    ADD COLUMN salt bytea CHECK (length(salt) = 16),
    ADD COLUMN leaf bytea CHECK (length(leaf) = 32);
CREATE TABLE lookup_days (
    day       date        PRIMARY KEY,
    salt      bytea       NOT NULL CHECK (length(salt) = 32),
    root      bytea       NOT NULL CHECK (length(root) = 32),
    log_index bigint      NOT NULL,
    closed_at timestamptz NOT NULL
);
CREATE TRIGGER lookup_days_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON lookup_days
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();

-- A look-up that comes after its day's root was made would be in none: whoever asks is shown nothing then.
CREATE FUNCTION refuse_lookup_of_closed_day() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Whoever closes the day takes this lock alone, and so waits for what is being written down.
    PERFORM pg_advisory_xact_lock_shared(hashtext('lookup_days'));
    IF EXISTS (SELECT 1 FROM lookup_days WHERE day = NEW.day) THEN
        RAISE EXCEPTION USING MESSAGE = 'the look-ups of ' || NEW.day || ' are closed';
    END IF;
    IF NEW.leaf IS NULL OR NEW.salt IS NULL THEN
        RAISE EXCEPTION 'a look-up needs its salt and its leaf';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lookups_of_open_days BEFORE INSERT ON lookups
    FOR EACH ROW EXECUTE FUNCTION refuse_lookup_of_closed_day();
