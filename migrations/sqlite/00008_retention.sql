-- +goose Up

-- How long a task is kept after its end (microseconds; NULL: as the settings of its queue
-- say), and until when its idempotency key is remembered (NULL: it has none). SQLite reads
-- neither through the overflow pages of a long message when it is NULL.
ALTER TABLE tasks ADD COLUMN retention INTEGER
    CONSTRAINT tasks_retention_in_range CHECK (retention BETWEEN 1 AND 9223372036854775);
ALTER TABLE tasks ADD COLUMN keyed_until INTEGER
    CONSTRAINT tasks_keyed_until_in_range CHECK (keyed_until BETWEEN -62135510400000000 AND 253402214400000000);

-- No task is purged while its key is remembered, also one that is there already. What a
-- trigger refuses stays as it is.
UPDATE tasks SET keyed_until = remembered.expires_at FROM (
    WITH RECURSIVE each(task_ids, at, expires_at) AS (
        SELECT task_ids, 1, expires_at FROM idempotency_keys
        WHERE expires_at > unixepoch() * 1000000 AND expires_at <= 253402214400000000
        UNION ALL SELECT task_ids, at + 16, expires_at FROM each WHERE at + 16 < length(task_ids)
    )
    SELECT substr(task_ids, at, 16) AS id, expires_at FROM each
) AS remembered
WHERE tasks.id = remembered.id AND coalesce(timeout, 0) <= 9223372036854775
    AND min(created_at, updated_at, run_at, coalesce(queued_at, 0), coalesce(deadline, 0), coalesce(started_at, 0),
        coalesce(stop_requested_at, 0)) >= -62135510400000000
    AND max(created_at, updated_at, run_at, coalesce(queued_at, 0), coalesce(deadline, 0), coalesce(started_at, 0),
        coalesce(stop_requested_at, 0)) <= 253402214400000000;

-- The purge: tasks that say themselves how long they are kept.
CREATE INDEX tasks_retained ON tasks (id) WHERE retention IS NOT NULL;

-- In microseconds; 0: for ever; NULL: the setting RETENTION.
ALTER TABLE queues ADD COLUMN retention_completed INTEGER
    CONSTRAINT queues_retention_completed_in_range CHECK (retention_completed BETWEEN 0 AND 9223372036854775);
ALTER TABLE queues ADD COLUMN retention_canceled INTEGER
    CONSTRAINT queues_retention_canceled_in_range CHECK (retention_canceled BETWEEN 0 AND 9223372036854775);
ALTER TABLE queues ADD COLUMN retention_failed INTEGER
    CONSTRAINT queues_retention_failed_in_range CHECK (retention_failed BETWEEN 0 AND 9223372036854775);

-- How far each walk of the purge has come: tasks at or below this id are done.
CREATE TABLE millrace_purges (
    walk   TEXT NOT NULL PRIMARY KEY,
    cursor BLOB NOT NULL,

    CONSTRAINT millrace_purges_cursor_is_a_uuid CHECK (length(cursor) = 16)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE millrace_purges;
ALTER TABLE queues DROP COLUMN retention_failed;
ALTER TABLE queues DROP COLUMN retention_canceled;
ALTER TABLE queues DROP COLUMN retention_completed;
DROP INDEX tasks_retained;
ALTER TABLE tasks DROP COLUMN keyed_until;
ALTER TABLE tasks DROP COLUMN retention;
