package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// report is what a run has found.
type report struct {
	Seed     uint64         `json:"seed"`
	Duration string         `json:"duration"`
	Lease    string         `json:"lease"`
	Steps    int            `json:"steps"`
	Faults   []faultReport  `json:"faults"`
	Answers  map[string]int `json:"answers"`
	Requests int            `json:"requests"`
	History  string         `json:"history"`

	Accepted  int `json:"accepted"`
	Stored    int `json:"stored"`
	Completed int `json:"completed"`
	Canceled  int `json:"canceled"`
	Failed    int `json:"failed"`

	Losses             int `json:"losses"`
	DoubledSubmissions int `json:"doubled_submissions"`
	DoubleCompletions  int `json:"double_completions"`
	ChangesAfterTheEnd int `json:"changes_after_the_end"`
	CompletedUnhandled int `json:"completed_unhandled"`
	CompletedByOthers  int `json:"completed_by_others"`

	Keys               int `json:"keys"`
	Replays            int `json:"replays"`
	Batches            int `json:"batches"`
	TornSubmissions    int `json:"torn_submissions"`
	KeysWithOtherTasks int `json:"keys_with_other_tasks"`

	DelayedStarts   int `json:"delayed_starts"`
	EarlyStarts     int `json:"early_starts"`
	EarliestStartMS int `json:"earliest_start_before_its_time_ms"`

	LimitsSet        int     `json:"limits_set"`
	LimitsExceeded   int     `json:"limits_exceeded"`
	SamplesOfFew     int     `json:"samples_of_the_limited_queue"`
	MostRunningOfFew int     `json:"most_running_of_the_limited_queue"`
	MostSpentOfRated float64 `json:"most_spent_of_the_burst"`
	MostAtOnce       float64 `json:"most_spent_of_the_burst_in_real_time"`

	Bulks           int `json:"bulk_actions"`
	BulkChanges     int `json:"changed_by_bulk_actions"`
	Reopened        int `json:"reopened"`
	BulksLost       int `json:"bulk_actions_lost"`
	BulksMiscounted int `json:"bulk_actions_miscounted"`
	BulkMissed      int `json:"tasks_missed_by_bulk_actions"`

	ReadinessSamples int `json:"readiness_samples"`
	UntrueReady      int `json:"ready_while_nothing_went_through"`

	Runs             int `json:"handler_runs"`
	ExtraRuns        int `json:"extra_runs_of_an_attempt"`
	RepeatedRuns     int `json:"runs_beyond_the_first_of_a_task"`
	MostRunsOfATask  int `json:"most_runs_of_a_task"`
	LongestWaitMS    int `json:"longest_wait_ms"`
	LongestRecovery  int `json:"longest_recovery_ms"`
	RescueAfterKill  int `json:"longest_rescue_after_worker_killed_ms"`
	RefillAfterFlush int `json:"longest_refill_after_redis_flushed_ms"`
}

// faultReport is about all faults of a kind.
type faultReport struct {
	Kind  string `json:"kind"`
	Times int    `json:"times"`
	// Recovery is the longest time from the end of the fault until a task that was
	// submitted after it was completed; Wait how long a task waited for its end
	// from the beginning of the fault; Left how long what the fault had stranded
	// took to go on, and Stranded how many tasks that was.
	RecoveryMS int `json:"longest_recovery_ms"`
	WaitMS     int `json:"longest_wait_ms"`
	LeftMS     int `json:"longest_left_ms,omitempty"`
	Stranded   int `json:"stranded,omitempty"`
	// Beside is the longest time that what the fault must not prevent took, and Ready how
	// long a program said that it was ready while nothing went through.
	BesideMS int `json:"longest_beside_ms,omitempty"`
	ReadyMS  int `json:"longest_untrue_ready_ms,omitempty"`
}

func ms(d time.Duration) int { return int(d.Milliseconds()) }

// byKind gathers what the steps and what they stranded has measured.
func (r *run) byKind(stored []storedTask) []faultReport {
	found := map[string]*faultReport{}
	for _, s := range r.steps {
		for _, f := range s.faults {
			k := found[f.name]
			if k == nil {
				k = &faultReport{Kind: f.name}
				found[f.name] = k
			}
			k.Times++
			k.RecoveryMS = max(k.RecoveryMS, ms(s.settled.Sub(s.ended)))
			k.WaitMS = max(k.WaitMS, ms(longestWait(stored, s)))
			k.BesideMS = max(k.BesideMS, ms(f.took))
			if limit := r.pace.stretch(f.within); f.within > 0 && f.took > limit {
				r.t.Errorf("%s: what it has nothing to do with took %s, not %s", f.name, f.took, limit)
			}
		}
	}
	for _, w := range r.stranded {
		k := found[w.fault.name]
		took := r.took(w)
		k.Stranded += len(w.ids)
		k.LeftMS = max(k.LeftMS, ms(took))
		if limit := r.pace.onward(w.fault.limit); limit > 0 && took > limit {
			r.t.Errorf("%s: the last of %d tasks went on after %s, not within %s", w.fault.name, len(w.ids), took, limit)
		}
	}
	var all []faultReport
	for _, k := range kinds {
		if f := found[k.name]; f != nil {
			all = append(all, *f)
		}
	}
	return all
}

// longestWait is how long, from the beginning of the step, a task that lived
// during it and that nothing but a fault made wait waited for its end.
func longestWait(stored []storedTask, s *step) time.Duration {
	var longest time.Duration
	for _, t := range stored {
		begun := t.created
		if begun.Before(s.began) {
			begun = s.began
		}
		if t.ordinary && t.created.Before(s.settled) && t.ended.After(s.began) {
			longest = max(longest, t.ended.Sub(begun))
		}
	}
	return longest
}

// publish logs the report and writes it to a file if that is wanted.
func (r *run) publish(p report) {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %s of faults, LEASE_TIMEOUT %s\n", p.Seed, p.Duration, p.Lease)
	fmt.Fprintf(&b, "%-30s %6s %12s %12s %10s %10s %10s %10s\n", "fault", "times", "recovery ms", "longest wait", "stranded", "left ms", "beside ms", "ready ms")
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "%-30s %6d %12d %12d %10d %10d %10d %10d\n", f.Kind, f.Times, f.RecoveryMS, f.WaitMS, f.Stranded, f.LeftMS, f.BesideMS, f.ReadyMS)
	}
	fmt.Fprintf(&b, "%d requests; the history is %s; answers:", p.Requests, p.History)
	for _, name := range slices.Sorted(maps.Keys(p.Answers)) {
		fmt.Fprintf(&b, " %s: %d;", name, p.Answers[name])
	}
	fmt.Fprintf(&b, "\naccepted %d, stored %d: completed %d, canceled %d, failed %d\n", p.Accepted, p.Stored, p.Completed, p.Canceled, p.Failed)
	fmt.Fprintf(&b, "losses %d, doubled submissions %d, double completions %d, changes after the end %d, completed and never handled %d, completed by others %d\n",
		p.Losses, p.DoubledSubmissions, p.DoubleCompletions, p.ChangesAfterTheEnd, p.CompletedUnhandled, p.CompletedByOthers)
	fmt.Fprintf(&b, "keys %d, replays %d, batches %d: torn submissions %d, keys with other tasks %d\n",
		p.Keys, p.Replays, p.Batches, p.TornSubmissions, p.KeysWithOtherTasks)
	fmt.Fprintf(&b, "delayed starts %d: early starts %d, the earliest %d ms before its time\n", p.DelayedStarts, p.EarlyStarts, p.EarliestStartMS)
	fmt.Fprintf(&b, "limits set %d, exceeded %d; of %s at most %d of %d at once, seen in %d samples; of %s at most %.2f of a burst of %d spent, %.2f in real time\n",
		p.LimitsSet, p.LimitsExceeded, few, p.MostRunningOfFew, fewRunning, p.SamplesOfFew, rated, p.MostSpentOfRated, ratedStart, p.MostAtOnce)
	fmt.Fprintf(&b, "actions on many tasks %d, with %d changes, %d of them reopened; lost %d, miscounted %d, tasks missed %d\n",
		p.Bulks, p.BulkChanges, p.Reopened, p.BulksLost, p.BulksMiscounted, p.BulkMissed)
	fmt.Fprintf(&b, "samples of readiness %d: ready for too long while nothing went through %d\n", p.ReadinessSamples, p.UntrueReady)
	fmt.Fprintf(&b, "handler runs %d: %d beyond one per attempt, %d beyond one per task, at most %d of one task\n",
		p.Runs, p.ExtraRuns, p.RepeatedRuns, p.MostRunsOfATask)
	r.t.Log("\n" + b.String())
	if *reportFlag == "" {
		return
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = os.WriteFile(*reportFlag, append(text, '\n'), 0o600)
	}
	if err != nil {
		r.t.Errorf("write the report: %v", err)
	}
}
