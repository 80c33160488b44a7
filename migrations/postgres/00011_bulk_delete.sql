-- +goose Up

-- delete is an action of this version. Programs of before pass such a row over, as they do
-- not understand its filter, and go on with the others.
ALTER TABLE bulks
    DROP CONSTRAINT bulks_action_known,
    ADD CONSTRAINT bulks_action_known CHECK (action IN ('cancel', 'stop', 'retry', 'delete'));

-- +goose Down
DELETE FROM bulks WHERE action = 'delete';
ALTER TABLE bulks
    DROP CONSTRAINT bulks_action_known,
    ADD CONSTRAINT bulks_action_known CHECK (action IN ('cancel', 'stop', 'retry'));
