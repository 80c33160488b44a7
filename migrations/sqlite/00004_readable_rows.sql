-- +goose Up

-- What a program cannot read is refused where it is written: a time outside of the years
-- 1 to 9999 (in microseconds since 1970), and a length of time that no int64 of
-- nanoseconds holds. Triggers, as SQLite adds no CHECK to a table that is there. NULL is
-- in every range.

-- +goose StatementBegin
CREATE TRIGGER tasks_readable_insert BEFORE INSERT ON tasks
WHEN NEW.created_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.updated_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.run_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.queued_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.deadline NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.started_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.stop_requested_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.timeout > 9223372036854775
BEGIN
    SELECT RAISE(ABORT, 'tasks: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tasks_readable_update BEFORE UPDATE ON tasks
WHEN NEW.created_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.updated_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.run_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.queued_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.deadline NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.started_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.stop_requested_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.timeout > 9223372036854775
BEGIN
    SELECT RAISE(ABORT, 'tasks: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER attempts_readable_insert BEFORE INSERT ON attempts
WHEN NEW.started_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.ended_at NOT BETWEEN -62135510400000000 AND 253402214400000000
BEGIN
    SELECT RAISE(ABORT, 'attempts: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER attempts_readable_update BEFORE UPDATE ON attempts
WHEN NEW.started_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.ended_at NOT BETWEEN -62135510400000000 AND 253402214400000000
BEGIN
    SELECT RAISE(ABORT, 'attempts: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER workers_readable_insert BEFORE INSERT ON workers
WHEN NEW.started_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.seen_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.beating_since NOT BETWEEN -62135510400000000 AND 253402214400000000
BEGIN
    SELECT RAISE(ABORT, 'workers: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER workers_readable_update BEFORE UPDATE ON workers
WHEN NEW.started_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.seen_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.beating_since NOT BETWEEN -62135510400000000 AND 253402214400000000
BEGIN
    SELECT RAISE(ABORT, 'workers: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER queues_readable_insert BEFORE INSERT ON queues
WHEN NEW.full_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.rate_per > 9223372036854775
BEGIN
    SELECT RAISE(ABORT, 'queues: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER queues_readable_update BEFORE UPDATE ON queues
WHEN NEW.full_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.rate_per > 9223372036854775
BEGIN
    SELECT RAISE(ABORT, 'queues: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER idempotency_keys_readable_insert BEFORE INSERT ON idempotency_keys
WHEN NEW.expires_at NOT BETWEEN -62135510400000000 AND 253402214400000000
BEGIN
    SELECT RAISE(ABORT, 'idempotency_keys: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER idempotency_keys_readable_update BEFORE UPDATE ON idempotency_keys
WHEN NEW.expires_at NOT BETWEEN -62135510400000000 AND 253402214400000000
BEGIN
    SELECT RAISE(ABORT, 'idempotency_keys: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER bulks_readable_insert BEFORE INSERT ON bulks
WHEN NEW.created_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.updated_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.done_at NOT BETWEEN -62135510400000000 AND 253402214400000000
BEGIN
    SELECT RAISE(ABORT, 'bulks: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER bulks_readable_update BEFORE UPDATE ON bulks
WHEN NEW.created_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.updated_at NOT BETWEEN -62135510400000000 AND 253402214400000000
    OR NEW.done_at NOT BETWEEN -62135510400000000 AND 253402214400000000
BEGIN
    SELECT RAISE(ABORT, 'bulks: a time or a length of time is out of range');
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER bulks_readable_update;
DROP TRIGGER bulks_readable_insert;
DROP TRIGGER idempotency_keys_readable_update;
DROP TRIGGER idempotency_keys_readable_insert;
DROP TRIGGER queues_readable_update;
DROP TRIGGER queues_readable_insert;
DROP TRIGGER workers_readable_update;
DROP TRIGGER workers_readable_insert;
DROP TRIGGER attempts_readable_update;
DROP TRIGGER attempts_readable_insert;
DROP TRIGGER tasks_readable_update;
DROP TRIGGER tasks_readable_insert;
