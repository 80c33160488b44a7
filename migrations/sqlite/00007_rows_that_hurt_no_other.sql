-- +goose Up

-- What no program writes is refused where it is written: counts that would overflow the
-- sum over all workers, a beat that none can follow, an interval that cannot be
-- multiplied, a window that cannot be doubled, and metadata that is no object of strings.
-- Triggers, as SQLite adds no CHECK to a table that is there: rows that are there already
-- stay, and whoever reads such a row bounds it, or passes it over and names it.

-- +goose StatementBegin
CREATE TRIGGER workers_counted_insert BEFORE INSERT ON workers
WHEN NEW.beat > 4611686018427387904
    OR NEW.beat_interval NOT BETWEEN 0 AND 86400000000
    OR NEW.capacity NOT BETWEEN 0 AND 1000000
    OR NEW.running NOT BETWEEN 0 AND 1000000
    OR NEW.abandoned > 1000000
BEGIN
    SELECT RAISE(ABORT, 'workers: a count is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER workers_counted_update BEFORE UPDATE ON workers
WHEN NEW.beat > 4611686018427387904
    OR NEW.beat_interval NOT BETWEEN 0 AND 86400000000
    OR NEW.capacity NOT BETWEEN 0 AND 1000000
    OR NEW.running NOT BETWEEN 0 AND 1000000
    OR NEW.abandoned > 1000000
BEGIN
    SELECT RAISE(ABORT, 'workers: a count is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER bulks_counted_insert BEFORE INSERT ON bulks
WHEN NEW.changed NOT BETWEEN 0 AND 1000000000000000
    OR NEW.skipped NOT BETWEEN 0 AND 1000000000000000
    OR NEW.search_window > 1000000
    OR NEW.tries > 1000000
BEGIN
    SELECT RAISE(ABORT, 'bulks: a count is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER bulks_counted_update BEFORE UPDATE ON bulks
WHEN NEW.changed NOT BETWEEN 0 AND 1000000000000000
    OR NEW.skipped NOT BETWEEN 0 AND 1000000000000000
    OR NEW.search_window > 1000000
    OR NEW.tries > 1000000
BEGIN
    SELECT RAISE(ABORT, 'bulks: a count is out of range');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tasks_paired_insert BEFORE INSERT ON tasks
WHEN NEW.metadata IS NOT NULL AND json_valid(NEW.metadata) AND EXISTS (SELECT 1 FROM json_each(NEW.metadata) WHERE type <> 'text')
BEGIN
    SELECT RAISE(ABORT, 'tasks: a value of metadata is no string');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER tasks_paired_update BEFORE UPDATE OF metadata ON tasks
WHEN NEW.metadata IS NOT NULL AND json_valid(NEW.metadata) AND EXISTS (SELECT 1 FROM json_each(NEW.metadata) WHERE type <> 'text')
BEGIN
    SELECT RAISE(ABORT, 'tasks: a value of metadata is no string');
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER tasks_paired_update;
DROP TRIGGER tasks_paired_insert;
DROP TRIGGER bulks_counted_update;
DROP TRIGGER bulks_counted_insert;
DROP TRIGGER workers_counted_update;
DROP TRIGGER workers_counted_insert;
