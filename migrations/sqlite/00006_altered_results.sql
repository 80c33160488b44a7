-- +goose Up

-- 0 or 1: bytes that no text can hold are U+FFFD in the result. The default is for the
-- results that are stored already.
ALTER TABLE tasks ADD COLUMN result_altered INTEGER NOT NULL DEFAULT 0
    CONSTRAINT tasks_result_altered_is_a_bool CHECK (result_altered IN (0, 1))
    CONSTRAINT tasks_only_completed_altered CHECK (status = 'completed' OR result_altered = 0);

-- +goose Down
ALTER TABLE tasks DROP COLUMN result_altered;
