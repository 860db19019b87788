-- Who may sign in, as what, and for which unit or participant. A password is kept as its Argon2id hash alone.
CREATE TABLE accounts (
    name          text        PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9._-]{1,62}$'),
    role          text        NOT NULL CHECK (role IN
        ('officer', 'bank', 'immigration', 'oversight', 'minister', 'operator')),
    unit          text,
    participant   text,
    password_hash text        NOT NULL,
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz,
    CHECK ((role = 'officer') = (unit IS NOT NULL)),
    CHECK ((role = 'bank') = (participant IS NOT NULL))
);

-- A session belongs to an account, or to an applicant who showed the secret of one application. Its token is known to
-- the browser alone: whoever reads this table cannot take a session over.
CREATE TABLE sessions (
    token_digest bytea       PRIMARY KEY CHECK (length(token_digest) = 32),
    account      text        REFERENCES accounts,
    application  text,
    created_at   timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    CHECK ((account IS NULL) <> (application IS NULL))
);
CREATE INDEX sessions_of_account ON sessions (account) WHERE account IS NOT NULL;
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Every attempt to sign in or to open an application's file, good or bad: the audit of sign-ins, and what the limits
-- count. `subject` is a digest of the name or number that was tried, which may belong to nobody.
CREATE TABLE attempts (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    door    text        NOT NULL CHECK (door IN ('account', 'application')),
    outcome text        NOT NULL CHECK (outcome IN ('passed', 'failed', 'limited')),
    subject bytea       NOT NULL CHECK (length(subject) = 32),
    address text        NOT NULL,
    account text
);
CREATE INDEX attempts_failed_of_address ON attempts (door, address, at) WHERE outcome = 'failed';
CREATE INDEX attempts_failed_of_subject ON attempts (door, subject, at) WHERE outcome = 'failed';

-- What waits for somebody, by whose it is and by its cause.
CREATE INDEX quarantine_open ON quarantine (code, id) WHERE resolved_at IS NULL;
CREATE INDEX quarantine_open_of ON quarantine (participant, code, id) WHERE resolved_at IS NULL;
