-- +goose Up

-- tracestate of the trace context whose traceparent is trace_parent (W3C Trace Context);
-- NULL: none.
ALTER TABLE tasks ADD COLUMN trace_state TEXT;

-- +goose Down
ALTER TABLE tasks DROP COLUMN trace_state;
