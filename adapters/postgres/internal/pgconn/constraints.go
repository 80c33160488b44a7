package pgconn

import (
	"slices"

	"github.com/millrace/millrace/domain"
)

// Constraints are the CHECKs of the schema. They repeat rules of the domain, which accepts
// no input that breaks one: only a defect does. A constraint that input can break does not
// belong here, nor does one that an operator has added: those are refusals.
var Constraints = []string{
	"attempts_count_from_one", "attempts_ended_after_started", "attempts_outcome_known", "attempts_times_in_range",
	"attempts_worker_not_empty", "bulks_action_known", "bulks_counts_in_range", "bulks_outcome_known",
	"bulks_times_in_range", "bulks_window_in_range", "idempotency_keys_expiry_in_range",
	"idempotency_keys_ids_are_a_list", "millrace_installation_one_row", "millrace_installation_prefix_in_range",
	"queue_minutes_counts_in_range", "queue_minutes_histograms_bounded", "queue_minutes_minute_in_range",
	"queue_minutes_queue_named", "queues_full_at_in_range", "queues_limits_in_range", "queues_named", "queues_rate_per_readable",
	"queues_rate_whole", "queues_retention_in_range", "tasks_counters_in_range", "tasks_failures_and_rescues_within_attempts",
	"tasks_keyed_until_in_range", "tasks_message_not_empty", "tasks_metadata_is_pairs_of_strings",
	"tasks_not_asked_to_stop_while_pending_or_failed", "tasks_only_completed_altered", "tasks_priority_in_range",
	"tasks_queue_named", "tasks_queued_while_pending", "tasks_result_once_completed", "tasks_retention_in_range",
	"tasks_started_once_attempted",
	"tasks_status_known", "tasks_timeout_in_range", "tasks_timeout_readable", "tasks_times_in_range",
	"tasks_updated_after_created", "tasks_worker_and_deadline_fit_status", "workers_abandoned_in_range",
	"workers_beat_counts_from_one", "workers_beating_before_seen", "workers_counts_in_range",
	"workers_times_in_range",
}

// defect returns err as the defect of ours that it is, nil if it is none.
func defect(err error) error {
	if e := serverError(err); e != nil && string(e.Code) == codeCheck && slices.Contains(Constraints, e.Constraint) {
		return &domain.Defect{Rule: e.Constraint, Cause: err}
	}
	return nil
}
