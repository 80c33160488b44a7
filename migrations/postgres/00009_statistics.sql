-- +goose Up

-- What happened to the tasks of a queue in a minute. The arrays count durations by bucket
-- (domain.Histogram). Rows are only added to for a few seconds; HOT updates need room.
CREATE TABLE queue_minutes (
    queue           text        NOT NULL COLLATE "C" CHECK (octet_length(queue) BETWEEN 1 AND 64),
    minute          timestamptz NOT NULL CHECK (isfinite(minute)),
    submitted       bigint      NOT NULL CHECK (submitted >= 0),
    started         bigint      NOT NULL CHECK (started >= 0),
    completed       bigint      NOT NULL CHECK (completed >= 0),
    failed_attempts bigint      NOT NULL CHECK (failed_attempts >= 0),
    failed          bigint      NOT NULL CHECK (failed >= 0),
    canceled        bigint      NOT NULL CHECK (canceled >= 0),
    rescued         bigint      NOT NULL CHECK (rescued >= 0),
    wait            bigint[]    NOT NULL CHECK (cardinality(wait) <= 65),
    run             bigint[]    NOT NULL CHECK (cardinality(run) <= 65),
    PRIMARY KEY (queue, minute)
) WITH (fillfactor = 70);
CREATE INDEX queue_minutes_by_minute ON queue_minutes (minute);

-- The last batch of each process that was added, so that none is added twice.
CREATE TABLE statistics_batches (
    source   text        PRIMARY KEY,
    number   bigint      NOT NULL,
    added_at timestamptz NOT NULL
) WITH (fillfactor = 70);

-- +goose Down
DROP TABLE statistics_batches;
DROP TABLE queue_minutes;
