package usecase_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// told is an error of a server that has answered.
type told struct{}

func (told) Error() string  { return "for the log" }
func (told) Reason() string { return "the server refuses" }
func (told) Unwrap() error  { return domain.ErrUnavailable }

func TestExperience_FailsWhenWorkHasFailedForTooLong(t *testing.T) {
	full := domain.Errorf(domain.CodeUnavailable, "the disk is full")
	for name, c := range map[string]struct {
		loop      application.Loop
		every     time.Duration // a failure
		after     time.Duration
		err       error
		succeeded bool // since the last failure
		needed    string
		helpful   string
	}{
		"OneFailedClaim":       {application.LoopClaim, time.Hour, 6 * time.Second, full, false, "", ""},
		"ClaimsForAMoment":     {application.LoopClaim, time.Second, 4 * time.Second, full, false, "", ""},
		"Claims":               {application.LoopClaim, time.Second, 6 * time.Second, full, false, "claim has failed for 6s: the disk is full", ""},
		"ClaimsThatSucceeded":  {application.LoopClaim, time.Second, 6 * time.Second, full, true, "", ""},
		"Heartbeats":           {application.LoopHeartbeat, 3 * time.Second, 9 * time.Second, domain.ErrUnavailable, false, "heartbeat has failed for 9s", ""},
		"Submissions":          {application.CallSubmit, time.Second, 7 * time.Second, full, false, "submit has failed for 7s: the disk is full", ""},
		"AnswersOfAServer":     {application.LoopClaim, time.Second, 6 * time.Second, told{}, false, "claim has failed for 6s: the server refuses", ""},
		"Reads":                {application.CallRead, time.Second, time.Hour, full, false, "", ""},
		"AnOutcomeThatIsHeld":  {application.LoopSave, 2 * time.Second, time.Minute, full, false, "", "saving outcomes has failed for 1m0s: the disk is full"},
		"ASweepForHalfAMinute": {application.SweepDue, time.Second, 30 * time.Second, apptest.ErrBroken, false, "", ""},
		"ASweepForAMinute":     {application.SweepDue, time.Second, time.Minute, apptest.ErrBroken, false, "the sweep of due tasks has failed for 1m0s", ""},
		"ARareSweep":           {application.SweepKeys, time.Minute, 2 * time.Minute, apptest.ErrBroken, false, "the sweep of expired idempotency keys has failed for 2m0s", ""},
		"APurgeForHalfAMinute": {application.SweepPurge, 5 * time.Second, 30 * time.Second, apptest.ErrBroken, false, "", ""},
		"APurgeThatIsRare":     {application.SweepPurge, 85 * time.Second, 170 * time.Second, full, false, "", "the purge of expired tasks has failed for 2m50s: the disk is full"},
		"OldStatistics":        {application.SweepStatistics, time.Minute, 2 * time.Minute, apptest.ErrBroken, false, "", "the sweep of old statistics has failed for 2m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := usecase.NewExperience()
				for begun := time.Now(); ; {
					x.Note(c.loop, c.err)
					left := c.after - time.Since(begun)
					if left <= 0 {
						break
					}
					time.Sleep(min(c.every, left))
					if c.every > left {
						break
					}
				}
				if c.succeeded {
					x.Note(c.loop, nil)
				}
				for which, p := range map[string]struct {
					probe application.Probe
					want  string
				}{"needed": {x.Needed(), c.needed}, "helpful": {x.Helpful(), c.helpful}} {
					got := ""
					if err := p.probe.Probe(t.Context()); err != nil {
						got = err.Error()
					}
					if got != p.want {
						t.Errorf("%s: %q, want %q", which, got, p.want)
					}
				}
			})
		})
	}
}

// Nobody submits to an API that is unready, so its failures must not count for ever.
func TestExperience_FailuresThatNobodyRepeatsGrowOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := usecase.NewExperience()
		for range 10 {
			x.Note(application.CallSubmit, domain.ErrUnavailable)
			time.Sleep(time.Second)
		}
		if err := x.Needed().Probe(t.Context()); err == nil || strings.Contains(err.Error(), domain.ErrUnavailable.Message) {
			t.Errorf("at once: %v", err)
		}
		time.Sleep(11 * time.Second)
		if err := x.Needed().Probe(t.Context()); err != nil {
			t.Errorf("later: %v", err)
		}
		x.Note(application.CallSubmit, domain.ErrUnavailable)
		if err := x.Needed().Probe(t.Context()); err != nil {
			t.Errorf("a failure long after others: %v", err)
		}
	})
}
