-- +goose Up

-- One row: which database this is. The names of the keys in Redis begin with what is made
-- of it, so that two databases on one Redis do not take each other's entries.
-- queue_prefix is that beginning where it was decided otherwise. Programs of the version
-- before know one beginning only: a database that they have used keeps it, because both
-- have to meet in the same lists while they run side by side.
CREATE TABLE millrace_installation (
    only_row     boolean PRIMARY KEY DEFAULT true,
    id           uuid    NOT NULL,
    queue_prefix text,

    CONSTRAINT millrace_installation_one_row CHECK (only_row),
    CONSTRAINT millrace_installation_prefix_in_range CHECK (octet_length(queue_prefix) BETWEEN 1 AND 200)
);
INSERT INTO millrace_installation (id, queue_prefix)
SELECT gen_random_uuid(), CASE WHEN EXISTS (SELECT FROM workers) OR EXISTS (SELECT FROM tasks) THEN 'millrace:' END;

-- Which worker has a sweep that one does for all. Losing a row costs the
-- work of a second sweeper, and nothing else.
CREATE TABLE millrace_sweeps (
    sweep  text        PRIMARY KEY,
    worker text        NOT NULL,
    until  timestamptz NOT NULL
) WITH (fillfactor = 50); -- small, and updated every few seconds
INSERT INTO millrace_sweeps VALUES ('stranded', '', to_timestamp(0));

-- +goose Down
DROP TABLE millrace_sweeps;
DROP TABLE millrace_installation;
