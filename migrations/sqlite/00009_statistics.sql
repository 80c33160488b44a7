-- +goose Up

-- What happened to the tasks of a queue in a minute. The texts count durations by bucket
-- (domain.Histogram).
CREATE TABLE queue_minutes (
    queue           TEXT    NOT NULL CHECK (octet_length(queue) BETWEEN 1 AND 64),
    minute          INTEGER NOT NULL, -- microseconds
    submitted       INTEGER NOT NULL CHECK (submitted >= 0),
    started         INTEGER NOT NULL CHECK (started >= 0),
    completed       INTEGER NOT NULL CHECK (completed >= 0),
    failed_attempts INTEGER NOT NULL CHECK (failed_attempts >= 0),
    failed          INTEGER NOT NULL CHECK (failed >= 0),
    canceled        INTEGER NOT NULL CHECK (canceled >= 0),
    rescued         INTEGER NOT NULL CHECK (rescued >= 0),
    wait            TEXT    NOT NULL,
    run             TEXT    NOT NULL,
    PRIMARY KEY (queue, minute)
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
