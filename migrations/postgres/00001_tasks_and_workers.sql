-- +goose Up

-- The CHECKs repeat what domain.Restore demands, so that no other writer can
-- leave a row that Millrace cannot read. Counters are bigint because they are
-- int in the domain: no value that it accepts may be out of range here.
-- fillfactor: every task is updated a few times soon after its birth; the room
-- keeps its new versions on the page of the old ones.
CREATE TABLE tasks (
    id                uuid        PRIMARY KEY, -- version 7: also the order of creation
    message           text        NOT NULL,
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

-- One row a life of a worker; seen_at is the lease of all that it holds.
-- beating_since is the start of its unbroken stretch of beats.
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
    capacity      bigint      NOT NULL,
    running       bigint      NOT NULL,

    CONSTRAINT workers_beat_counts_from_one CHECK (beat >= 1),
    CONSTRAINT workers_beating_before_seen CHECK (beating_since <= seen_at)
) WITH (fillfactor = 50); -- small, and every row is updated every few seconds

-- +goose Down
DROP TABLE workers;
DROP TABLE attempts;
DROP TABLE tasks;
