package sqlite

import (
	"errors"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"github.com/millrace/millrace/domain"
)

// constraints are the CHECKs of the schema, and what its triggers say. They repeat rules of
// the domain, which accepts no input that breaks one: only a defect does. A constraint that
// input can break does not belong here, nor does one that an operator has added: those are
// refusals.
var constraints = []string{
	"attempts_count_from_one", "attempts_ended_after_started", "attempts_outcome_known", "attempts_worker_not_empty",
	"bulks_action_known", "bulks_filter_is_an_object", "bulks_ids_are_uuids", "bulks_outcome_known",
	"bulks_search_window_in_range", "bulks_tries_in_range", "idempotency_keys_fingerprint_whole",
	"idempotency_keys_ids_whole", "queue_minutes_counts_in_range", "queue_minutes_minute_in_range", "queue_minutes_queue_named",
	"queues_limits_in_range", "queues_named", "queues_paused_is_a_bool",
	"queues_rate_whole", "queues_retention_canceled_in_range", "queues_retention_completed_in_range",
	"queues_retention_failed_in_range", "tasks_counters_in_range", "tasks_failures_and_rescues_within_attempts",
	"tasks_id_is_a_uuid", "tasks_keyed_until_in_range", "tasks_message_not_empty_without_nul", "tasks_metadata_is_an_object",
	"tasks_not_asked_to_stop_while_pending_or_failed", "tasks_only_completed_altered", "tasks_priority_in_range",
	"tasks_queue_named", "tasks_queued_while_pending", "tasks_result_altered_is_a_bool",
	"tasks_result_once_completed", "tasks_result_truncated_is_a_bool", "tasks_retention_in_range", "tasks_started_once_attempted",
	"tasks_status_known", "tasks_timeout_in_range", "tasks_updated_after_created",
	"tasks_worker_and_deadline_fit_status", "workers_beat_counts_from_one", "workers_beating_before_seen",
	"workers_queues_are_an_array",

	"tasks: a time or a length of time is out of range", "attempts: a time or a length of time is out of range",
	"workers: a time or a length of time is out of range", "queues: a time or a length of time is out of range",
	"idempotency_keys: a time or a length of time is out of range",
	"bulks: a time or a length of time is out of range", "workers: a count is out of range",
	"bulks: a count is out of range", "tasks: a value of metadata is no string",
}

// defect returns err as the defect of ours that it is, nil if it is none.
func defect(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return nil
	}
	rule, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(e.Error(), "constraint failed: "), "CHECK constraint failed: "), " (")
	if !slices.Contains(constraints, rule) {
		return nil
	}
	return &domain.Defect{Rule: rule, Cause: err}
}
