-- Marks what the API gives out as its own; the processes of the API share it. 244 random bits, hashed to 32 bytes.
CREATE TABLE api_secret (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    secret   bytea   NOT NULL CHECK (length(secret) = 32)
);
INSERT INTO api_secret (secret) VALUES (sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

-- What was answered to requests that changed something, by caller and the caller's own key. Kept for a day. A row
-- without an answer is seen by nobody: it is committed with it.
CREATE TABLE answers (
    caller      text        NOT NULL,
    key         text        NOT NULL CHECK (length(key) <= 64),
    fingerprint bytea       NOT NULL CHECK (length(fingerprint) = 32),
    expires_at  timestamptz NOT NULL,
    status      integer,
    body        text,
    PRIMARY KEY (caller, key)
);
CREATE INDEX answers_expiry ON answers (expires_at);

-- Machines that hold a secret instead of a key in the registry: what they may ask, and for whom. A secret is 256 random
-- bits, so that its digest alone tells nobody anything.
CREATE TABLE clients (
    id            text        PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9._-]{1,62}$'),
    role          text        NOT NULL CHECK (role IN ('officer', 'bank', 'labour_office', 'immigration', 'oversight')),
    unit          text,
    participant   text,
    scopes        text[]      NOT NULL CHECK (cardinality(scopes) > 0),
    secret_digest bytea       NOT NULL CHECK (length(secret_digest) = 32),
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz,
    CHECK ((role = 'officer') = (unit IS NOT NULL)),
    CHECK ((role IN ('bank', 'labour_office')) = (participant IS NOT NULL))
);

-- Access tokens, by their SHA-256, for a few minutes: of a client, or of a participant by one of its keys.
CREATE TABLE access_tokens (
    token_digest bytea       PRIMARY KEY CHECK (length(token_digest) = 32),
    client       text        REFERENCES clients,
    kid          text,
    scopes       text[]      NOT NULL,
    expires_at   timestamptz NOT NULL,
    CHECK ((client IS NULL) <> (kid IS NULL))
);
CREATE INDEX access_tokens_expiry ON access_tokens (expires_at);
