-- +goose Up

-- One row: which store this is. The embedded queue is inside the process and needs no
-- name; the row is there for whoever moves the store to a server.
CREATE TABLE millrace_installation (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    id       BLOB    NOT NULL CHECK (length(id) = 16)
) STRICT;
INSERT INTO millrace_installation (id) VALUES (randomblob(16));

-- +goose Down
DROP TABLE millrace_installation;
