package domain_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

func TestRestore_RefusesWhatContradictsItself(t *testing.T) {
	for name, c := range map[string]struct {
		of     domain.Status
		damage func(*domain.TaskState)
	}{
		"an unknown status":             {"pending", func(s *domain.TaskState) { s.Status = "lost" }},
		"no message":                    {"pending", func(s *domain.TaskState) { s.Message = "" }},
		"a message with NUL":            {"pending", func(s *domain.TaskState) { s.Message = "\x00" }},
		"a message that is not UTF-8":   {"pending", func(s *domain.TaskState) { s.Message = "\xff" }},
		"version 0":                     {"pending", func(s *domain.TaskState) { s.Version = 0 }},
		"no attempts allowed":           {"pending", func(s *domain.TaskState) { s.MaxAttempts = 0 }},
		"a negative attempt":            {"pending", func(s *domain.TaskState) { s.Attempt = -1 }},
		"negative failures":             {"processing", func(s *domain.TaskState) { s.Failures = -1 }},
		"negative rescues":              {"processing", func(s *domain.TaskState) { s.Rescues = -1 }},
		"more failures than attempts":   {"processing", func(s *domain.TaskState) { s.Failures = 2 }},
		"more given back than attempts": {"processing", func(s *domain.TaskState) { s.Failures, s.Rescues = 1, 1 }},
		"updated before it was created": {"pending", func(s *domain.TaskState) { s.UpdatedAt = s.CreatedAt.Add(-1) }},
		"processing by nobody":          {"processing", func(s *domain.TaskState) { s.Worker = "" }},
		"processing without deadline":   {"processing", func(s *domain.TaskState) { s.Deadline = time.Time{} }},
		"processing and never claimed":  {"processing", func(s *domain.TaskState) { s.Attempt = 0 }},
		"pending, held by a worker":     {"pending", func(s *domain.TaskState) { s.Worker = "w" }},
		"completed with a deadline":     {"completed", func(s *domain.TaskState) { s.Deadline = start }},
		"processing and queued":         {"processing", func(s *domain.TaskState) { s.QueuedAt = start }},
		"canceled and queued":           {"canceled", func(s *domain.TaskState) { s.QueuedAt = start }},
		"pending and asked to stop":     {"pending", func(s *domain.TaskState) { s.StopRequestedAt = start }},
		"failed and asked to stop":      {"failed", func(s *domain.TaskState) { s.StopRequestedAt = start }},
		"attempted and never started":   {"failed", func(s *domain.TaskState) { s.StartedAt = time.Time{} }},
		"started and never attempted":   {"pending", func(s *domain.TaskState) { s.StartedAt = start }},
		"running with a result":         {"processing", func(s *domain.TaskState) { s.Result = "done" }},
		"failed with a result":          {"failed", func(s *domain.TaskState) { s.Result = "done" }},
		"pending with half a result":    {"pending", func(s *domain.TaskState) { s.ResultTruncated = true }},
		"failed, with a result altered": {"failed", func(s *domain.TaskState) { s.ResultAltered = true }},
		"no queue":                      {"pending", func(s *domain.TaskState) { s.Queue = "" }},
		"a queue of no such name":       {"pending", func(s *domain.TaskState) { s.Queue = "A" }},
		"a priority below":              {"pending", func(s *domain.TaskState) { s.Priority = -1 }},
		"a priority above":              {"pending", func(s *domain.TaskState) { s.Priority = 10 }},
		"a negative timeout":            {"pending", func(s *domain.TaskState) { s.Timeout = -1 }},
		"completed by nobody":           {"completed", func(s *domain.TaskState) { s.Worker = "" }},
		"completed and never claimed":   {"completed", func(s *domain.TaskState) { s.Attempt = 0 }},
	} {
		s := taskIn(t, c.of).State()
		if _, err := domain.Restore(s); err != nil {
			t.Errorf("before the damage of %q: %v", name, err)
		}
		c.damage(&s)
		task, err := domain.Restore(s)
		if task != nil {
			t.Errorf("%s: accepted", name)
		}
		wantCode(t, err, domain.CodeDamaged)
	}
}

func TestRestoreWithoutTexts_AsksForNoTexts(t *testing.T) {
	for _, status := range domain.Statuses() {
		s := taskIn(t, status).State()
		s.Message, s.Result = "", ""
		task, err := domain.RestoreWithoutTexts(s)
		if err != nil || task.State().ID != s.ID {
			t.Errorf("a %s task: %v", status, err)
		}
		s.Version = 0
		_, err = domain.RestoreWithoutTexts(s)
		wantCode(t, err, domain.CodeDamaged)
	}
}

func TestRestoreClaimed_AddsWhatFollowsFromTheClaim(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Hour + 3*time.Microsecond} {
		s := newTask(t, 3).State()
		s.Timeout = timeout
		want, err := domain.Restore(s)
		c := domain.Claim{Worker: "w", Beat: 7, Timeout: time.Minute + time.Nanosecond, Grace: time.Second + 999*time.Nanosecond}
		must(t, err, want.Claim(c, at(5)))
		s.UpdatedAt, s.Version, s.Attempt = want.State().UpdatedAt, want.Version(), want.Attempt()
		got, err := domain.RestoreClaimed(s, c)
		if must(t, err); !reflect.DeepEqual(got.State(), want.State()) || got.StoredVersion() != want.Version() {
			t.Errorf("restored %+v, want %+v", got.State(), want.State())
		}
		s.Attempt = 0
		_, err = domain.RestoreClaimed(s, c)
		wantCode(t, err, domain.CodeDamaged)
	}
}
