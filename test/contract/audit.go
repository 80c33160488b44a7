package contract

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var auditChecks = map[string]check{
	"AuditFindsNothingWrongOfHealthyTasks": auditHealthy,
	"AuditCountsWhatNoLiveWorkerHolds":     auditUnheld,
	"AuditCountsWhatIsDueAndNotQueued":     auditUnqueued,
	"AuditStopsAtItsLimit":                 auditStops,
}

func wantViolations(t *testing.T, s Store, limit, unheld, unqueued int) {
	t.Helper()
	got, err := s.Audit.Violations(t.Context(), limit)
	if err != nil {
		t.Fatalf("violations: %v", err)
	}
	want := map[application.Rule]int{application.RuleLiveWorker: unheld, application.RuleQueued: unqueued}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

func auditHealthy(t *testing.T, s Store) {
	wantViolations(t, s, 10, 0, 0)
	beat(t, s, beatOf(t, "w", 1, longInterval))
	addMade(t, s)                                                // queued
	addMade(t, s, heldBy("w", 1))                                // runs
	addMade(t, s, waiting(now().Add(time.Hour)))                 // is not due
	addMade(t, s, waiting(now().Add(-application.AuditGrace/2))) // only just is
	addMade(t, s, marked(now().Add(-time.Hour)))                 // waits for a worker: that is no fault
	addMade(t, s, completedBy("gone"))
	wantViolations(t, s, 10, 0, 0)
}

func auditUnheld(t *testing.T, s Store) {
	addMade(t, s, heldBy("never-there", 1))
	addMade(t, s, heldBy("never-there", 1))
	wantViolations(t, s, 10, 2, 0)
}

func auditUnqueued(t *testing.T, s Store) {
	addMade(t, s, waiting(now().Add(-application.AuditGrace-time.Second)))
	addMade(t, s, waiting(now().Add(-time.Hour)), tried(1))
	wantViolations(t, s, 10, 0, 2)
}

func auditStops(t *testing.T, s Store) {
	for range 3 {
		addMade(t, s, waiting(now().Add(-time.Hour)))
		addMade(t, s, heldBy(domain.WorkerID("never-there"), 1))
	}
	wantViolations(t, s, 2, 2, 2)
}
