-- +goose Up

-- tracestate of the trace context whose traceparent is trace_parent (W3C Trace Context);
-- NULL: none. Programs of the version before do not know the column, and lose nothing else
-- of the trace. A column without a default costs no rewrite of the table.
ALTER TABLE tasks ADD COLUMN trace_state text;

-- +goose Down
ALTER TABLE tasks DROP COLUMN trace_state;
