-- Differences between the banks' books, their notifications and the bills: a row for each time that one was open.
-- The indices are those of the first leaf of the transaction that opened and closed it.
CREATE TABLE differences (
    id             text        NOT NULL,
    revision       int         NOT NULL CHECK (revision >= 1),
    key            text        NOT NULL,
    kind           text        NOT NULL,
    participant    text        NOT NULL,
    state          text        NOT NULL CHECK (state IN ('open', 'closed', 'resolved')),
    application    text,
    payment_source text        NOT NULL,
    payment_id     text        NOT NULL,
    amount         text        NOT NULL,
    currency       text        NOT NULL,
    paid_on        date        NOT NULL,
    opened_at      timestamptz NOT NULL,
    opened_index   bigint      NOT NULL,
    closed_at      timestamptz,
    closed_index   bigint,
    statement      text,
    explanations   text        NOT NULL DEFAULT '[]',
    PRIMARY KEY (id, revision),
    CHECK ((state = 'open') = (closed_at IS NULL)),
    CHECK ((closed_at IS NULL) = (closed_index IS NULL))
);
CREATE INDEX differences_of_bank ON differences (participant, paid_on);

-- The daily reports as they were published; what comes late makes another revision.
CREATE TABLE reconciliation_reports (
    participant text        NOT NULL,
    day         date        NOT NULL,
    revision    int         NOT NULL CHECK (revision >= 1),
    log_size    bigint      NOT NULL CHECK (log_size >= 0),
    created_at  timestamptz NOT NULL,
    sha256      text        NOT NULL,
    document    bytea       NOT NULL,
    PRIMARY KEY (participant, day, revision)
);

-- Days lie together in the inbox, so that a summary of each stretch finds a day, and costs the intake next to nothing.
CREATE INDEX inbox_time ON inbox USING brin (time) WITH (autosummarize = on);
