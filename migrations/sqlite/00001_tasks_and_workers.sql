-- +goose Up

-- Times are microseconds since 1970. The CHECKs repeat what domain.Restore
-- demands. result and message come last: what is before them is read without the
-- pages that long ones spill over to.
CREATE TABLE tasks (
    id                BLOB    NOT NULL PRIMARY KEY, -- 16 bytes of a UUID of version 7: also the order of creation
    status            TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    run_at            INTEGER NOT NULL,
    queued_at         INTEGER,
    max_attempts      INTEGER NOT NULL,
    attempt           INTEGER NOT NULL,
    failures          INTEGER NOT NULL,
    rescues           INTEGER NOT NULL,
    worker            TEXT,
    claim_beat        INTEGER NOT NULL,
    deadline          INTEGER,
    started_at        INTEGER,
    stop_requested_at INTEGER,
    result_truncated  INTEGER NOT NULL, -- 0 or 1
    last_error        TEXT    NOT NULL,
    result            TEXT    NOT NULL,
    message           TEXT    NOT NULL,

    CONSTRAINT tasks_id_is_a_uuid
        CHECK (length(id) = 16),
    CONSTRAINT tasks_status_known
        CHECK (status IN ('pending', 'processing', 'completed', 'canceled', 'failed')),
    CONSTRAINT tasks_message_not_empty_without_nul
        CHECK (message <> '' AND instr(message, char(0)) = 0),
    CONSTRAINT tasks_counters_in_range
        CHECK (version >= 1 AND max_attempts >= 1 AND attempt >= 0 AND failures >= 0 AND rescues >= 0),
    CONSTRAINT tasks_failures_and_rescues_within_attempts
        CHECK (failures + rescues <= attempt),
    CONSTRAINT tasks_updated_after_created
        CHECK (updated_at >= created_at),
    CONSTRAINT tasks_worker_and_deadline_fit_status
        CHECK (CASE status
            WHEN 'processing' THEN worker IS NOT NULL AND worker <> '' AND deadline IS NOT NULL AND attempt > 0
            WHEN 'completed' THEN worker IS NOT NULL AND worker <> '' AND deadline IS NULL AND attempt > 0
            ELSE worker IS NULL AND deadline IS NULL
        END),
    CONSTRAINT tasks_started_once_attempted
        CHECK ((attempt > 0) = (started_at IS NOT NULL)),
    CONSTRAINT tasks_result_truncated_is_a_bool
        CHECK (result_truncated IN (0, 1)),
    CONSTRAINT tasks_result_once_completed
        CHECK (status = 'completed' OR (result = '' AND result_truncated = 0)),
    CONSTRAINT tasks_queued_while_pending
        CHECK (queued_at IS NULL OR status = 'pending'),
    CONSTRAINT tasks_not_asked_to_stop_while_pending_or_failed
        CHECK (stop_requested_at IS NULL OR status NOT IN ('pending', 'failed'))
) STRICT;

-- Each index serves one question of the dispatcher and holds only the rows that
-- the question is about: a task that has ended costs nothing in any of them.

-- due: what is to be queued, the longest due first.
CREATE INDEX tasks_due ON tasks (run_at, id)
    WHERE status = 'pending' AND queued_at IS NULL;

-- stranded: what was queued long ago, the oldest mark first.
CREATE INDEX tasks_queued ON tasks (queued_at, id)
    WHERE status = 'pending' AND queued_at IS NOT NULL;

-- abandoned, and a worker's own beat: what a worker holds.
CREATE INDEX tasks_claimed ON tasks (worker, id)
    WHERE status = 'processing';

-- What became of the attempts that ended without success; the task itself tells of
-- the one that runs or completed it, so most tasks have no row here. A record is
-- written with the change of its task, once.
CREATE TABLE attempts (
    task_id    BLOB    NOT NULL REFERENCES tasks ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    worker     TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    outcome    TEXT    NOT NULL,
    error      TEXT    NOT NULL,

    PRIMARY KEY (task_id, number),
    CONSTRAINT attempts_count_from_one CHECK (number >= 1),
    CONSTRAINT attempts_worker_not_empty CHECK (worker <> ''),
    CONSTRAINT attempts_ended_after_started CHECK (ended_at >= started_at),
    CONSTRAINT attempts_outcome_known CHECK (outcome IN ('failed', 'released', 'lost', 'stopped'))
) STRICT, WITHOUT ROWID;

-- One row a life of a worker; seen_at is the lease of all that it holds.
-- beating_since is the start of its unbroken stretch of beats.
CREATE TABLE workers (
    id            TEXT    NOT NULL PRIMARY KEY,
    host          TEXT    NOT NULL,
    pid           INTEGER NOT NULL,
    version       TEXT    NOT NULL,
    started_at    INTEGER NOT NULL,
    seen_at       INTEGER NOT NULL,
    beating_since INTEGER NOT NULL,
    beat          INTEGER NOT NULL,
    beat_interval INTEGER NOT NULL, -- microseconds
    capacity      INTEGER NOT NULL,
    running       INTEGER NOT NULL,

    CONSTRAINT workers_beat_counts_from_one CHECK (beat >= 1),
    CONSTRAINT workers_beating_before_seen CHECK (beating_since <= seen_at)
) STRICT;

-- +goose Down
DROP TABLE workers;
DROP TABLE attempts;
DROP TABLE tasks;
