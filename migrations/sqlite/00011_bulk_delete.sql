-- +goose Up

-- delete is an action of this version. SQLite changes no CHECK of a table that is there:
-- its rows move to another, which has the triggers of the one before.
CREATE TABLE bulks_moved (
    id            BLOB    NOT NULL PRIMARY KEY,
    action        TEXT    NOT NULL,
    filter        TEXT    NOT NULL, -- a JSON object
    cursor        BLOB    NOT NULL, -- tasks at or above this id are done
    changed       INTEGER NOT NULL,
    skipped       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    done_at       INTEGER,
    search_window INTEGER NOT NULL DEFAULT 0 CONSTRAINT bulks_search_window_in_range CHECK (search_window >= 0),
    tries         INTEGER NOT NULL DEFAULT 0 CONSTRAINT bulks_tries_in_range CHECK (tries >= 0),
    outcome       TEXT    NOT NULL DEFAULT '' CONSTRAINT bulks_outcome_known CHECK (outcome IN ('', 'canceled', 'failed')),
    reason        TEXT    NOT NULL DEFAULT '',

    CONSTRAINT bulks_ids_are_uuids CHECK (length(id) = 16 AND length(cursor) = 16),
    CONSTRAINT bulks_action_known CHECK (action IN ('cancel', 'stop', 'retry', 'delete')),
    CONSTRAINT bulks_filter_is_an_object CHECK (json_type(filter) = 'object')
) STRICT;
INSERT INTO bulks_moved SELECT id, action, filter, cursor, changed, skipped, created_at, updated_at, done_at,
    search_window, tries, outcome, reason FROM bulks;
DROP TABLE bulks;
ALTER TABLE bulks_moved RENAME TO bulks;
CREATE INDEX bulks_to_do ON bulks (id) WHERE done_at IS NULL;

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

-- +goose Down
-- The table may stay as it is: without such a row it is as the one before.
DELETE FROM bulks WHERE action = 'delete';
