-- +goose Up

-- The defaults are for programs of the version before, which do not know the columns.
ALTER TABLE workers
    ADD COLUMN abandoned bigint  NOT NULL DEFAULT 0, -- handlers that ignore the end of their context
    ADD COLUMN stuck     boolean NOT NULL DEFAULT false, -- pulls no tasks for that reason
    ADD CONSTRAINT workers_abandoned_in_range CHECK (abandoned >= 0);

-- +goose Down
ALTER TABLE workers DROP COLUMN abandoned, DROP COLUMN stuck;
