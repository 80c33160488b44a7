-- +goose Up

-- What happened to the tasks of a queue in a minute. The arrays count durations by bucket
-- (domain.Histogram). Rows are only added to for a few seconds; HOT updates need room.
CREATE TABLE queue_minutes (
    queue           text        NOT NULL COLLATE "C",
    minute          timestamptz NOT NULL,
    submitted       bigint      NOT NULL,
    started         bigint      NOT NULL,
    completed       bigint      NOT NULL,
    failed_attempts bigint      NOT NULL,
    failed          bigint      NOT NULL,
    canceled        bigint      NOT NULL,
    rescued         bigint      NOT NULL,
    wait            bigint[]    NOT NULL,
    run             bigint[]    NOT NULL,
    PRIMARY KEY (queue, minute),

    CONSTRAINT queue_minutes_queue_named CHECK (octet_length(queue) BETWEEN 1 AND 64),
    CONSTRAINT queue_minutes_minute_in_range CHECK (minute BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'),
    CONSTRAINT queue_minutes_counts_in_range CHECK (
        submitted >= 0 AND started >= 0 AND completed >= 0 AND failed_attempts >= 0 AND failed >= 0 AND canceled >= 0
        AND rescued >= 0
    ),
    CONSTRAINT queue_minutes_histograms_bounded CHECK (cardinality(wait) <= 65 AND cardinality(run) <= 65)
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
