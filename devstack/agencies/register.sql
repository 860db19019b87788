-- The ministry's own permit register, with the transactional outbox that its permit system writes.
CREATE SCHEMA register;

CREATE TABLE register.application (
    number       text PRIMARY KEY,
    status       text NOT NULL,
    submitted_on date,
    employer     text,
    changed_at   timestamptz NOT NULL
);

CREATE TABLE register.billing (
    code        text PRIMARY KEY,
    application text NOT NULL,
    amount      numeric(18, 2) NOT NULL,
    currency    text NOT NULL,
    expires_at  timestamptz NOT NULL,
    status      text NOT NULL
);

CREATE TABLE register.decision (
    number      text PRIMARY KEY,
    application text NOT NULL,
    kind        text NOT NULL,
    decided_at  timestamptz NOT NULL
);

CREATE TABLE register.outbox (
    id                 bigserial PRIMARY KEY,
    xact               xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at                 timestamptz NOT NULL,
    kind               text NOT NULL,
    application_number text NOT NULL,
    payload            jsonb NOT NULL
);
CREATE INDEX outbox_in_order ON register.outbox (xact, id);

CREATE TABLE register.outcome (
    event_id           text PRIMARY KEY,
    at                 timestamptz NOT NULL DEFAULT now(),
    kind               text NOT NULL,
    application_number text,
    billing_code       text,
    payload            jsonb NOT NULL
);
