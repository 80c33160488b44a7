-- +goose Up

-- Times are microseconds since 1970. The CHECKs repeat the conditions of
-- domain.Restore. result and message come last, so that the columns before them are read
-- without the overflow pages of long ones.
CREATE TABLE tasks (
    id                BLOB    NOT NULL PRIMARY KEY, -- 16 bytes of a UUID of version 7: also the order of creation
    status            TEXT    NOT NULL,
    queue             TEXT    NOT NULL,
    priority          INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    run_at            INTEGER NOT NULL,
    queued_at         INTEGER,
    timeout           INTEGER, -- of an attempt, in microseconds
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
    trace_parent      TEXT,
    metadata          TEXT,    -- pairs of strings, as a JSON object; NULL: none
    last_error        TEXT    NOT NULL,
    result            TEXT    NOT NULL,
    message           TEXT    NOT NULL,

    CONSTRAINT tasks_id_is_a_uuid
        CHECK (length(id) = 16),
    CONSTRAINT tasks_status_known
        CHECK (status IN ('pending', 'processing', 'completed', 'canceled', 'failed')),
    CONSTRAINT tasks_message_not_empty_without_nul
        CHECK (message <> '' AND instr(message, char(0)) = 0),
    CONSTRAINT tasks_queue_named
        CHECK (queue GLOB '[a-z0-9]*' AND NOT queue GLOB '*[^a-z0-9._-]*' AND length(CAST(queue AS BLOB)) <= 64
            AND instr(queue, char(0)) = 0),
    CONSTRAINT tasks_priority_in_range
        CHECK (priority BETWEEN 0 AND 9),
    CONSTRAINT tasks_timeout_in_range
        CHECK (timeout > 0),
    CONSTRAINT tasks_metadata_is_an_object
        CHECK (json_type(metadata) = 'object'),
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

-- Each index serves one query and holds only the rows of that query: a completed task
-- costs nothing in any of them.

-- The due sweep: tasks to queue, the longest due first.
CREATE INDEX tasks_due ON tasks (run_at, id, queue, queued_at)
    WHERE status = 'pending' AND queued_at IS NULL;

-- The stranded sweep, the number of tasks before a task, and the age of a backlog: queued
-- tasks, lane by lane, the oldest mark first.
CREATE INDEX tasks_queued ON tasks (queue, priority, queued_at, id, run_at)
    WHERE status = 'pending' AND queued_at IS NOT NULL;

-- The orphaned sweep, heartbeats, and the number of running tasks of a queue: the tasks
-- that a worker holds.
CREATE INDEX tasks_claimed ON tasks (worker, id, queue)
    WHERE status = 'processing';

-- Lists of rare tasks, newest first. A task is in tasks_open from its insert to its end.
CREATE INDEX tasks_open ON tasks (id) WHERE status = 'pending' OR status = 'processing';
CREATE INDEX tasks_failed ON tasks (id) WHERE status = 'failed';
CREATE INDEX tasks_canceled ON tasks (id) WHERE status = 'canceled';

-- Tasks by their metadata, newest first. Written with the task, and never changed.
CREATE TABLE task_metadata (
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    task_id BLOB NOT NULL,

    PRIMARY KEY (key, value, task_id)
) STRICT, WITHOUT ROWID;

-- The settings of queues. A queue without a row has no limits.
CREATE TABLE queues (
    name        TEXT    NOT NULL PRIMARY KEY,
    paused      INTEGER NOT NULL, -- 0 or 1
    max_running INTEGER,          -- NULL: no limit
    rate_count  INTEGER,          -- NULL: no limit
    rate_per    INTEGER,          -- microseconds
    full_at     INTEGER,          -- when the bucket of the rate is full again; NULL: now

    CONSTRAINT queues_named
        CHECK (name GLOB '[a-z0-9]*' AND NOT name GLOB '*[^a-z0-9._-]*' AND length(CAST(name AS BLOB)) <= 64
            AND instr(name, char(0)) = 0),
    CONSTRAINT queues_paused_is_a_bool CHECK (paused IN (0, 1)),
    CONSTRAINT queues_limits_in_range CHECK (max_running >= 1 AND rate_count >= 1 AND rate_per >= 1),
    CONSTRAINT queues_rate_whole CHECK ((rate_count IS NULL) = (rate_per IS NULL))
) STRICT, WITHOUT ROWID;

-- Idempotency keys, stored with the tasks of their requests.
CREATE TABLE idempotency_keys (
    owner       TEXT    NOT NULL, -- the name of the credential; empty without credentials
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    task_ids    BLOB    NOT NULL, -- 16 bytes each, in the order of the request
    expires_at  INTEGER NOT NULL,

    PRIMARY KEY (owner, key),
    CONSTRAINT idempotency_keys_fingerprint_whole CHECK (length(fingerprint) = 32),
    CONSTRAINT idempotency_keys_ids_whole CHECK (length(task_ids) % 16 = 0)
) STRICT;
CREATE INDEX idempotency_keys_expired ON idempotency_keys (expires_at);

-- Bulk actions and their progress.
CREATE TABLE bulks (
    id         BLOB    NOT NULL PRIMARY KEY,
    action     TEXT    NOT NULL,
    filter     TEXT    NOT NULL, -- a JSON object
    cursor     BLOB    NOT NULL, -- tasks at or above this id are done
    changed    INTEGER NOT NULL,
    skipped    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    done_at    INTEGER,

    CONSTRAINT bulks_ids_are_uuids CHECK (length(id) = 16 AND length(cursor) = 16),
    CONSTRAINT bulks_action_known CHECK (action IN ('cancel', 'stop', 'retry')),
    CONSTRAINT bulks_filter_is_an_object CHECK (json_type(filter) = 'object')
) STRICT;
CREATE INDEX bulks_to_do ON bulks (id) WHERE done_at IS NULL;

-- The attempts that ended without success. The attempt that runs, or that completed the
-- task, is in the row of the task, so most tasks have no row here. A row is written once,
-- with the change of its task.
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

-- One row for each start of a worker. seen_at is the time of its last heartbeat, which
-- renews the lease of all its tasks; beating_since is when its heartbeats became unbroken.
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
    queues        TEXT    NOT NULL, -- that it pulls from, a JSON array
    capacity      INTEGER NOT NULL,
    running       INTEGER NOT NULL,

    CONSTRAINT workers_queues_are_an_array CHECK (json_type(queues) = 'array'),
    CONSTRAINT workers_beat_counts_from_one CHECK (beat >= 1),
    CONSTRAINT workers_beating_before_seen CHECK (beating_since <= seen_at)
) STRICT;

-- +goose Down
DROP TABLE workers;
DROP TABLE bulks;
DROP TABLE idempotency_keys;
DROP TABLE queues;
DROP TABLE task_metadata;
DROP TABLE attempts;
DROP TABLE tasks;
