-- +goose Up

-- Handlers that ignore the end of their context, and whether the worker pulls no
-- tasks for that reason. The defaults are for programs of the version before, which
-- do not know the columns.
ALTER TABLE workers ADD COLUMN abandoned INTEGER NOT NULL DEFAULT 0 CHECK (abandoned >= 0);
ALTER TABLE workers ADD COLUMN stuck INTEGER NOT NULL DEFAULT 0 CHECK (stuck IN (0, 1));

-- +goose Down
ALTER TABLE workers DROP COLUMN stuck;
ALTER TABLE workers DROP COLUMN abandoned;
