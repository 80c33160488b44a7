-- +goose NO TRANSACTION
-- Each statement is done at most once, however often the migration is tried: an index that
-- is built CONCURRENTLY keeps nobody from writing, and allows no transaction.

-- +goose Up

-- How long a task is kept after its end, and until when its idempotency key is remembered.
-- Programs of the version before leave both NULL: for how long their keys are remembered is
-- found at the end of this migration.
ALTER TABLE tasks
    ADD COLUMN IF NOT EXISTS retention   bigint,      -- microseconds; NULL: as the settings of its queue say
    ADD COLUMN IF NOT EXISTS keyed_until timestamptz, -- NULL: it has no key
    DROP CONSTRAINT IF EXISTS tasks_retention_in_range,
    ADD CONSTRAINT tasks_retention_in_range CHECK (retention BETWEEN 1 AND 9223372036854775) NOT VALID,
    DROP CONSTRAINT IF EXISTS tasks_keyed_until_in_range,
    ADD CONSTRAINT tasks_keyed_until_in_range CHECK (
        keyed_until IS NULL OR keyed_until BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
    ) NOT VALID;

-- The purge: tasks that say themselves how long they are kept. All others are too young
-- above an id that follows from the settings, and the purge does not read them.
DROP INDEX CONCURRENTLY IF EXISTS tasks_retained; -- what a try that failed has left is invalid
CREATE INDEX CONCURRENTLY tasks_retained ON tasks (id) WHERE retention IS NOT NULL;

-- In microseconds; 0: for ever; NULL: the setting RETENTION.
ALTER TABLE queues
    ADD COLUMN IF NOT EXISTS retention_completed bigint,
    ADD COLUMN IF NOT EXISTS retention_canceled  bigint,
    ADD COLUMN IF NOT EXISTS retention_failed    bigint,
    DROP CONSTRAINT IF EXISTS queues_retention_in_range,
    ADD CONSTRAINT queues_retention_in_range CHECK (
        retention_completed BETWEEN 0 AND 9223372036854775 AND retention_canceled BETWEEN 0 AND 9223372036854775
        AND retention_failed BETWEEN 0 AND 9223372036854775
    ) NOT VALID;

-- How far each walk of the purge has come: tasks at or below this id are done.
CREATE TABLE IF NOT EXISTS millrace_purges (
    walk   text PRIMARY KEY,
    cursor uuid NOT NULL
) WITH (fillfactor = 50); -- small, and updated often

INSERT INTO millrace_sweeps VALUES ('purge', '', to_timestamp(0)) ON CONFLICT DO NOTHING;

-- A task leaves two dead rows while it is processed, and a third one when it is purged. By
-- default autovacuum waits until a fifth of the table is dead, and then has that much to do
-- at once: millions of rows, whose entries the sweeps meet at the heads of their indexes
-- until then. A hundredth is soon done, and its space is used again before the table grows.
-- After a twentieth of inserts, not a fifth, the pages without dead rows are marked as such:
-- later vacuums pass them over. The statistics follow a queue that fills or drains.
-- The cost limits stay the server's: they are about its disks.
ALTER TABLE tasks SET (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05,
    -- what is long in messages and results goes with its tasks
    toast.autovacuum_vacuum_scale_factor = 0.01, toast.autovacuum_vacuum_threshold = 5000
);
-- Written once and deleted once, with the task or when the key has expired: a twentieth of
-- what is kept is soon used again.
ALTER TABLE attempts SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE task_metadata SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE idempotency_keys SET (autovacuum_vacuum_scale_factor = 0.05);
-- Small, and every row is updated every few seconds or with every claim: a fixed number, so
-- that rows which are long gone do not put vacuum off. New versions stay on the page of the
-- old ones (fillfactor), so there is little to do.
ALTER TABLE workers SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
ALTER TABLE queues SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

-- No task is purged while its key is remembered, also one that is there already: programs
-- that purge wait for this migration. As the table may be large and programs work on it, few
-- rows are locked at a time, and their version stays. A try that fails keeps what is done. A
-- row that breaks a rule from after it was written stays as it is.
-- +goose StatementBegin
DO $$
DECLARE
    remembered record;
    portion    int := 0;
BEGIN
    FOR remembered IN
        SELECT unnest(task_ids) AS id, expires_at FROM idempotency_keys
        WHERE expires_at > now() AND expires_at <= '9999-12-31 00:00:00+00' ORDER BY id
    LOOP
        BEGIN
            UPDATE tasks SET keyed_until = remembered.expires_at WHERE id = remembered.id AND keyed_until IS NULL;
        EXCEPTION WHEN integrity_constraint_violation OR raise_exception THEN
            RAISE NOTICE 'task % is left as it is: %', remembered.id, SQLERRM;
        END;
        portion := portion + 1;
        IF portion = 50 THEN
            COMMIT;
            portion := 0;
        END IF;
    END LOOP;
END $$;
-- +goose StatementEnd

-- +goose Down
ALTER TABLE queues RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE workers RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
ALTER TABLE idempotency_keys RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE task_metadata RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE attempts RESET (autovacuum_vacuum_scale_factor);
ALTER TABLE tasks RESET (
    autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_insert_scale_factor,
    autovacuum_analyze_scale_factor, toast.autovacuum_vacuum_scale_factor, toast.autovacuum_vacuum_threshold
);
DELETE FROM millrace_sweeps WHERE sweep = 'purge';
DROP TABLE IF EXISTS millrace_purges;
ALTER TABLE queues
    DROP COLUMN IF EXISTS retention_completed, DROP COLUMN IF EXISTS retention_canceled, DROP COLUMN IF EXISTS retention_failed;
ALTER TABLE tasks DROP COLUMN IF EXISTS retention, DROP COLUMN IF EXISTS keyed_until;
