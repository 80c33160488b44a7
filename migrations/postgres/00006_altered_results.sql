-- +goose Up

-- The default is for programs of the version before, which do not know the column, and
-- for results that they have stored. NOT VALID: every row has the default by now, and
-- the table need not be read for that.
ALTER TABLE tasks
    ADD COLUMN result_altered boolean NOT NULL DEFAULT false, -- bytes that no text can hold are U+FFFD in the result
    ADD CONSTRAINT tasks_only_completed_altered CHECK (status = 'completed' OR NOT result_altered) NOT VALID;

-- +goose Down
ALTER TABLE tasks DROP COLUMN result_altered;
