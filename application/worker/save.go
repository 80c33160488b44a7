package worker

import (
	"errors"
	"strings"
	"unicode"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// outcomeSave stores one outcome. It is tried again for as long as the lease holds,
// whatever the error: only a heartbeat's answer ends it, the end of the worker, or a
// store that refuses this very outcome. A lock on the task's row is such an error, after
// the store has waited for it: see application.TaskRepository.Save.
type outcomeSave struct {
	*runner
	outcome
	attemptEnding
	ref     application.AttemptRef
	task    *domain.Task   // as it was loaded last
	claim   domain.Attempt // by which the worker has it
	sent    bool           // a save was, and what became of it has to be resolved before the next
	refused bool           // the outcome is now the failure that says so
}

// try stores what the outcome makes of the task, and returns it as it is stored.
func (s *outcomeSave) try() (*domain.Task, error) {
	for {
		if s.sent {
			done, err := s.resolve()
			if err != nil {
				return nil, err
			}
			if done {
				return s.task, nil
			}
		}
		if !s.holds() {
			return nil, loop.Stop(domain.ErrAttemptLost)
		}
		if err := s.decide(s.task); err != nil {
			return nil, loop.Stop(err)
		}
		s.end.Outcome = s.task.LastOutcome()
		err := s.Tasks.Save(s.saving, s.task)
		s.sent = true
		switch {
		case err == nil:
			s.Events.LoopRan(s.told, application.LoopSave, nil)
			return s.task, nil
		case errors.Is(err, domain.ErrTaskNotFound):
			return nil, loop.Stop(err)
		case errors.Is(err, domain.ErrConflict): // a stop was requested, or the attempt is lost
		case errors.Is(err, domain.ErrRefused) && (s.refused || !s.charged):
			return nil, loop.Stop(err)
		case errors.Is(err, domain.ErrRefused):
			s.Events.OutcomeRefused(s.told, s.task.Queue(), s.ref, err)
			s.refused, s.decide = true, s.fail(refusal(err))
		default:
			s.Events.LoopRan(s.told, application.LoopSave, err)
			return nil, err
		}
	}
}

// holds reports whether the task is still held by the claim whose outcome this is. The
// attempt's number does not say so once the store has lost a claim, in a failover: the
// number is given again, to another worker or to this one, and the message may be another.
func (s *outcomeSave) holds() bool {
	a, ok := s.task.LatestAttempt()
	return ok && a.Number == s.claim.Number && a.Worker == s.claim.Worker && a.StartedAt.Equal(s.claim.StartedAt)
}

// resolve reads the task again after a save that found another version, was refused, or
// whose answer was lost. It is done if the save did go through; otherwise the outcome
// has to be decided again.
func (s *outcomeSave) resolve() (done bool, err error) {
	if cause := s.leases.causeOf(s.ref); errors.Is(cause, domain.ErrAttemptLost) {
		return false, loop.Stop(cause)
	}
	now, err := s.Tasks.Get(s.saving, s.ref.Task)
	switch {
	case errors.Is(err, domain.ErrTaskNotFound):
		return false, loop.Stop(err)
	case err != nil:
		s.Events.LoopRan(s.told, application.LoopSave, err)
		return false, err
	}
	done = now.Version() == s.task.Version() && now.Status() == s.task.Status() && now.Attempt() == s.ref.Attempt &&
		now.State().StartedAt.Equal(s.claim.StartedAt) // of another claim, see holds
	s.task = now
	return done, nil
}

// maxRefusal bounds what a refusal quotes of the store's words, in bytes.
const maxRefusal = 200

// refusal is the failure of an attempt whose outcome the store refused. It is small and
// plain, so that the store takes it whatever it refused before.
func refusal(err error) domain.Failure {
	plain := strings.Map(func(c rune) rune {
		if c > unicode.MaxASCII || !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, err.Error())
	return domain.Failure{
		Reason: "the store refused the outcome: " + plain[:min(len(plain), maxRefusal)], Permanent: true,
	}
}
