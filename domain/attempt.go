package domain

import "time"

// AttemptOutcome is how an attempt ended. The spellings are part of the API.
type AttemptOutcome string

// The outcomes. Running is that of an attempt which has not ended.
const (
	OutcomeRunning   AttemptOutcome = "running"
	OutcomeCompleted AttemptOutcome = "completed"
	OutcomeFailed    AttemptOutcome = "failed"   // the handler's own error, or its deadline
	OutcomeReleased  AttemptOutcome = "released" // given back unfinished: the worker ended, or never started it
	OutcomeLost      AttemptOutcome = "lost"     // the worker was, or the outcome
	OutcomeStopped   AttemptOutcome = "stopped"  // on request
)

// Attempt is one claim of a task, and what came of it.
type Attempt struct {
	Number    int
	Worker    WorkerID
	StartedAt time.Time // when the task was claimed
	EndedAt   time.Time // zero while it runs
	Outcome   AttemptOutcome
	Error     string
}

// EndedAttempts returns the attempts that ended without success since the task
// was loaded or saved last: a save stores them with the task. Success has no
// record of its own, as most tasks have no more than that: LatestAttempt tells
// it from the task itself.
func (t *Task) EndedAttempts() []Attempt { return t.ended }

// LastOutcome is how the attempt ended that has ended since the task was loaded or made,
// also after a save; empty: none has.
func (t *Task) LastOutcome() AttemptOutcome { return t.last }

// LatestAttempt is the attempt that the task itself tells of: the one that runs,
// or the one that completed it. All others have a record.
func (t *Task) LatestAttempt() (Attempt, bool) {
	a := Attempt{Number: t.s.Attempt, Worker: t.s.Worker, StartedAt: t.s.StartedAt}
	switch t.s.Status {
	case StatusProcessing:
		a.Outcome = OutcomeRunning
	case StatusCompleted:
		a.Outcome, a.EndedAt = OutcomeCompleted, t.s.UpdatedAt
	default:
		return Attempt{}, false
	}
	return a, true
}

// note remembers how the attempt ended that held the task until now.
func (t *Task) note(held TaskState, outcome AttemptOutcome, reason string) {
	if t.s.Status == StatusCanceled {
		outcome = OutcomeStopped
	}
	t.last = outcome
	t.ended = append(t.ended, Attempt{
		Number: held.Attempt, Worker: held.Worker, StartedAt: held.StartedAt, EndedAt: t.s.UpdatedAt,
		Outcome: outcome, Error: reason,
	})
}
