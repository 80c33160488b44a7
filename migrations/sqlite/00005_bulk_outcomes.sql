-- +goose Up

-- How many tasks the next step may look at (0: as many as any), steps in a row that took
-- too long, and how the action has ended (empty: all that matched is done). The defaults
-- are for programs of the version before, which do not know the columns.
ALTER TABLE bulks ADD COLUMN search_window INTEGER NOT NULL DEFAULT 0 CHECK (search_window >= 0);
ALTER TABLE bulks ADD COLUMN tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0);
ALTER TABLE bulks ADD COLUMN outcome TEXT NOT NULL DEFAULT '' CHECK (outcome IN ('', 'canceled', 'failed'));
ALTER TABLE bulks ADD COLUMN reason TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE bulks DROP COLUMN reason;
ALTER TABLE bulks DROP COLUMN outcome;
ALTER TABLE bulks DROP COLUMN tries;
ALTER TABLE bulks DROP COLUMN search_window;
