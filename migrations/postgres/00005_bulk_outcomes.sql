-- +goose Up

-- The defaults are for programs of the version before, which do not know the columns.
ALTER TABLE bulks
    ADD COLUMN locked        uuid[] NOT NULL DEFAULT '{}', -- tasks above the cursor that are not done, as they were locked
    ADD COLUMN search_window bigint NOT NULL DEFAULT 0,    -- how many tasks the next step may look at; 0: as many as any
    ADD COLUMN tries         bigint NOT NULL DEFAULT 0,    -- steps in a row that took too long
    ADD COLUMN outcome       text   NOT NULL DEFAULT '',   -- of an action that is done; empty: all that matched is done
    ADD COLUMN reason        text   NOT NULL DEFAULT '',
    ADD CONSTRAINT bulks_outcome_known CHECK (outcome IN ('', 'canceled', 'failed') AND (outcome = '' OR done_at IS NOT NULL)),
    ADD CONSTRAINT bulks_window_in_range CHECK (search_window >= 0 AND tries >= 0);

-- +goose Down
ALTER TABLE bulks DROP COLUMN locked, DROP COLUMN search_window, DROP COLUMN tries, DROP COLUMN outcome, DROP COLUMN reason;
