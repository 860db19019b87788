-- What an operator said of a stretch that was lost to its topic's retention. Until then the stretch is an alarm.
CREATE TABLE lost_acknowledged (
    topic_id        text        NOT NULL,
    partition       int         NOT NULL,
    from_offset     bigint      NOT NULL,
    acknowledged_at timestamptz NOT NULL,
    actor           text        NOT NULL,
    reason          text        NOT NULL,
    PRIMARY KEY (topic_id, partition, from_offset),
    FOREIGN KEY (topic_id, partition, from_offset) REFERENCES watermark_interval
);
CREATE TRIGGER lost_acknowledged_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON lost_acknowledged
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_evidence();

-- Lost stretches are few among very many consumed ones, and are looked for every few seconds.
CREATE INDEX watermark_interval_lost ON watermark_interval (topic_id, partition, from_offset) WHERE kind = 'lost';
