-- +goose Up

-- What no program writes is refused where it is written: counts that would overflow the
-- sum over all workers, a beat that none can follow, an interval that cannot be
-- multiplied, a window that cannot be doubled, an array of ids that is no list, and
-- metadata that is no object of strings. NOT VALID, as rows that are there already must
-- not keep the migration from being applied, nor does it read the tables; whoever reads
-- such a row bounds it, or passes it over and names it.
ALTER TABLE workers ADD CONSTRAINT workers_counts_in_range CHECK (
    beat <= 4611686018427387904 AND beat_interval BETWEEN interval '0' AND interval '1 day'
    AND capacity BETWEEN 0 AND 1000000 AND running BETWEEN 0 AND 1000000 AND abandoned <= 1000000
) NOT VALID;

ALTER TABLE bulks ADD CONSTRAINT bulks_counts_in_range CHECK (
    changed BETWEEN 0 AND 1000000000000000 AND skipped BETWEEN 0 AND 1000000000000000
    AND search_window <= 1000000 AND tries <= 1000000
) NOT VALID;

ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_ids_are_a_list CHECK (
    coalesce(array_ndims(task_ids), 1) = 1 AND array_position(task_ids, NULL) IS NULL
) NOT VALID;

ALTER TABLE tasks ADD CONSTRAINT tasks_metadata_is_pairs_of_strings CHECK (
    CASE WHEN metadata IS NULL THEN true
        WHEN jsonb_typeof(metadata) = 'object' THEN NOT jsonb_path_exists(metadata, 'strict $.* ? (@.type() != "string")')
        ELSE false
    END
) NOT VALID;

-- +goose Down
ALTER TABLE tasks DROP CONSTRAINT tasks_metadata_is_pairs_of_strings;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_ids_are_a_list;
ALTER TABLE bulks DROP CONSTRAINT bulks_counts_in_range;
ALTER TABLE workers DROP CONSTRAINT workers_counts_in_range;
