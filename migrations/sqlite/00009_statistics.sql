-- +goose Up

-- What happened to the tasks of a queue in a minute. The texts count durations by bucket
-- (domain.Histogram).
CREATE TABLE queue_minutes (
    queue           TEXT    NOT NULL,
    minute          INTEGER NOT NULL, -- microseconds
    submitted       INTEGER NOT NULL,
    started         INTEGER NOT NULL,
    completed       INTEGER NOT NULL,
    failed_attempts INTEGER NOT NULL,
    failed          INTEGER NOT NULL,
    canceled        INTEGER NOT NULL,
    rescued         INTEGER NOT NULL,
    wait            TEXT    NOT NULL,
    run             TEXT    NOT NULL,
    PRIMARY KEY (queue, minute),

    CONSTRAINT queue_minutes_queue_named CHECK (octet_length(queue) BETWEEN 1 AND 64),
    CONSTRAINT queue_minutes_minute_in_range CHECK (minute BETWEEN -62135510400000000 AND 253402214400000000),
    CONSTRAINT queue_minutes_counts_in_range CHECK (
        submitted >= 0 AND started >= 0 AND completed >= 0 AND failed_attempts >= 0 AND failed >= 0 AND canceled >= 0
        AND rescued >= 0
    )
) STRICT;
CREATE INDEX queue_minutes_by_minute ON queue_minutes (minute);

-- The last batch of each process that was added, so that none is added twice.
CREATE TABLE statistics_batches (
    source   TEXT    PRIMARY KEY,
    number   INTEGER NOT NULL,
    added_at INTEGER NOT NULL -- microseconds
) STRICT;

-- +goose Down
DROP TABLE statistics_batches;
DROP TABLE queue_minutes;
