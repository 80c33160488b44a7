-- +goose Up

-- The CHECKs repeat the conditions of domain.Restore, so that no other writer can leave
-- a row that Millrace cannot read. Counters are bigint because they are int in the
-- domain: no value that it accepts may be out of range here. The CHECKs run with every
-- insert and every update: {0,63} in the pattern of a queue's name would cost more than
-- all the others together.
-- fillfactor: every task is updated a few times soon after its insert; the free space
-- keeps its new versions on the page of the old ones.
CREATE TABLE tasks (
    id                uuid        PRIMARY KEY, -- version 7: also the order of creation
    message           text        NOT NULL,
    queue             text        NOT NULL,
    priority          bigint      NOT NULL,
    timeout           bigint, -- of an attempt, in microseconds
    metadata          jsonb,  -- pairs of strings; NULL: none
    trace_parent      text,
    status            text        NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    version           bigint      NOT NULL,
    run_at            timestamptz NOT NULL,
    queued_at         timestamptz,
    max_attempts      bigint      NOT NULL,
    attempt           bigint      NOT NULL,
    failures          bigint      NOT NULL,
    rescues           bigint      NOT NULL,
    worker            text,
    claim_beat        bigint      NOT NULL,
    deadline          timestamptz,
    started_at        timestamptz,
    last_error        text        NOT NULL,
    stop_requested_at timestamptz,
    result            text        NOT NULL,
    result_truncated  boolean     NOT NULL,

    CONSTRAINT tasks_status_known
        CHECK (status IN ('pending', 'processing', 'completed', 'canceled', 'failed')),
    CONSTRAINT tasks_message_not_empty
        CHECK (message <> ''),
    CONSTRAINT tasks_queue_named
        CHECK (queue ~ '^[a-z0-9][a-z0-9._-]*$' AND octet_length(queue) <= 64),
    CONSTRAINT tasks_priority_in_range
        CHECK (priority BETWEEN 0 AND 9),
    CONSTRAINT tasks_timeout_in_range
        CHECK (timeout > 0),
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
    CONSTRAINT tasks_result_once_completed
        CHECK (status = 'completed' OR (result = '' AND NOT result_truncated)),
    CONSTRAINT tasks_queued_while_pending
        CHECK (queued_at IS NULL OR status = 'pending'),
    CONSTRAINT tasks_not_asked_to_stop_while_pending_or_failed
        CHECK (stop_requested_at IS NULL OR status NOT IN ('pending', 'failed'))
) WITH (fillfactor = 70);

-- Each index serves one query and holds only the rows of that query: a completed task
-- costs nothing in any of them.

-- The due sweep: tasks to queue, the longest due first.
CREATE INDEX tasks_due ON tasks (run_at, id) INCLUDE (queue)
    WHERE status = 'pending' AND queued_at IS NULL;

-- The stranded sweep, the number of tasks before a task, and the age of a backlog: queued
-- tasks, lane by lane, the oldest mark first.
CREATE INDEX tasks_queued ON tasks (queue, priority, queued_at, run_at)
    WHERE status = 'pending' AND queued_at IS NOT NULL;

-- The orphaned sweep, heartbeats, and the number of running tasks of a queue: the tasks
-- that a worker holds.
CREATE INDEX tasks_claimed ON tasks (worker, id) INCLUDE (queue)
    WHERE status = 'processing';

-- Lists of rare tasks, newest first.
CREATE INDEX tasks_failed ON tasks (id) WHERE status = 'failed';
CREATE INDEX tasks_canceled ON tasks (id) WHERE status = 'canceled';

-- Tasks by their metadata, newest first. Written with the task, and never changed.
CREATE TABLE task_metadata (
    key     text NOT NULL,
    value   text NOT NULL,
    task_id uuid NOT NULL,

    PRIMARY KEY (key, value, task_id)
);

-- The settings of queues. A queue without a row has no limits.
CREATE TABLE queues (
    name        text        PRIMARY KEY,
    paused      boolean     NOT NULL,
    max_running bigint,      -- NULL: no limit
    rate_count  bigint,      -- NULL: no limit
    rate_per    bigint,      -- microseconds
    full_at     timestamptz, -- when the bucket of the rate is full again; NULL: now

    CONSTRAINT queues_named CHECK (name ~ '^[a-z0-9][a-z0-9._-]*$' AND octet_length(name) <= 64),
    CONSTRAINT queues_limits_in_range CHECK (max_running >= 1 AND rate_count >= 1 AND rate_per >= 1),
    CONSTRAINT queues_rate_whole CHECK ((rate_count IS NULL) = (rate_per IS NULL))
) WITH (fillfactor = 50); -- the row of a queue with a rate changes with every claim

-- The queues whose tasks a claim leaves out; every claim reads them.
CREATE INDEX queues_limited ON queues (name)
    WHERE paused OR max_running IS NOT NULL OR rate_count IS NOT NULL;

-- Idempotency keys, stored with the tasks of their requests.
CREATE TABLE idempotency_keys (
    owner       text        NOT NULL, -- the name of the credential; empty without credentials
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    task_ids    uuid[]      NOT NULL, -- in the order of the request
    expires_at  timestamptz NOT NULL,

    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_keys_expired ON idempotency_keys (expires_at);

-- Bulk actions and their progress.
CREATE TABLE bulks (
    id         uuid        PRIMARY KEY,
    action     text        NOT NULL,
    filter     jsonb       NOT NULL,
    cursor     uuid        NOT NULL, -- tasks at or above this id are done
    changed    bigint      NOT NULL,
    skipped    bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    done_at    timestamptz,

    CONSTRAINT bulks_action_known CHECK (action IN ('cancel', 'stop', 'retry'))
);
CREATE INDEX bulks_to_do ON bulks (id) WHERE done_at IS NULL;

-- The attempts that ended without success. The attempt that runs, or that completed the
-- task, is in the row of the task, so most tasks have no row here. A row is written once,
-- with the change of its task.
CREATE TABLE attempts (
    task_id    uuid        NOT NULL REFERENCES tasks ON DELETE CASCADE,
    number     bigint      NOT NULL,
    worker     text        NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    outcome    text        NOT NULL,
    error      text        NOT NULL,

    PRIMARY KEY (task_id, number),
    CONSTRAINT attempts_count_from_one CHECK (number >= 1),
    CONSTRAINT attempts_worker_not_empty CHECK (worker <> ''),
    CONSTRAINT attempts_ended_after_started CHECK (ended_at >= started_at),
    CONSTRAINT attempts_outcome_known CHECK (outcome IN ('failed', 'released', 'lost', 'stopped'))
);

-- One row for each start of a worker. seen_at is the time of its last heartbeat, which
-- renews the lease of all its tasks; beating_since is when its heartbeats became unbroken.
CREATE TABLE workers (
    id            text        PRIMARY KEY,
    host          text        NOT NULL,
    pid           bigint      NOT NULL,
    version       text        NOT NULL,
    started_at    timestamptz NOT NULL,
    seen_at       timestamptz NOT NULL,
    beating_since timestamptz NOT NULL,
    beat          bigint      NOT NULL,
    beat_interval interval    NOT NULL,
    queues        text[]      NOT NULL, -- that it pulls from
    capacity      bigint      NOT NULL,
    running       bigint      NOT NULL,

    CONSTRAINT workers_beat_counts_from_one CHECK (beat >= 1),
    CONSTRAINT workers_beating_before_seen CHECK (beating_since <= seen_at)
) WITH (fillfactor = 50); -- small, and every row is updated every few seconds

-- +goose Down
DROP TABLE workers;
DROP TABLE bulks;
DROP TABLE idempotency_keys;
DROP TABLE queues;
DROP TABLE task_metadata;
DROP TABLE attempts;
DROP TABLE tasks;
