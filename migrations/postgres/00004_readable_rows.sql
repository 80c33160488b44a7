-- +goose Up

-- What a program cannot read is refused where it is written: a time that is infinite or
-- outside of the years 1 to 9999, and a length of time that no int64 of nanoseconds
-- holds. NOT VALID: rows that are there already do not keep the migration from being
-- applied, nor does it read the tables. ALTER TABLE ... VALIDATE CONSTRAINT finds them.
ALTER TABLE tasks
    ADD CONSTRAINT tasks_times_in_range CHECK (
        created_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
        AND updated_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
        AND run_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
        AND (queued_at IS NULL OR queued_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00')
        AND (deadline IS NULL OR deadline BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00')
        AND (started_at IS NULL OR started_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00')
        AND (stop_requested_at IS NULL OR stop_requested_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00')
    ) NOT VALID,
    ADD CONSTRAINT tasks_timeout_readable CHECK (timeout <= 9223372036854775) NOT VALID;

ALTER TABLE attempts ADD CONSTRAINT attempts_times_in_range CHECK (
    started_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND ended_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
) NOT VALID;

ALTER TABLE workers ADD CONSTRAINT workers_times_in_range CHECK (
    started_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND seen_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND beating_since BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
) NOT VALID;

ALTER TABLE queues
    ADD CONSTRAINT queues_full_at_in_range
        CHECK (full_at IS NULL OR full_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00') NOT VALID,
    ADD CONSTRAINT queues_rate_per_readable CHECK (rate_per <= 9223372036854775) NOT VALID;

ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_expiry_in_range
    CHECK (expires_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00') NOT VALID;

ALTER TABLE bulks ADD CONSTRAINT bulks_times_in_range CHECK (
    created_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND updated_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00'
    AND (done_at IS NULL OR done_at BETWEEN '0001-01-02 00:00:00+00' AND '9999-12-31 00:00:00+00')
) NOT VALID;

-- +goose Down
ALTER TABLE bulks DROP CONSTRAINT bulks_times_in_range;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_expiry_in_range;
ALTER TABLE queues DROP CONSTRAINT queues_full_at_in_range, DROP CONSTRAINT queues_rate_per_readable;
ALTER TABLE workers DROP CONSTRAINT workers_times_in_range;
ALTER TABLE attempts DROP CONSTRAINT attempts_times_in_range;
ALTER TABLE tasks DROP CONSTRAINT tasks_times_in_range, DROP CONSTRAINT tasks_timeout_readable;
