package application

import (
	"cmp"
	"time"

	"github.com/millrace/millrace/domain"
)

// OwnedTask is what a beat has to know of a task that its worker owns.
type OwnedTask struct {
	AttemptRef
	ClaimBeat int64 // the number of the beat under which it was claimed
	Deadline  time.Time
}

// BeatRules decide about the tasks that a worker owns, by the lists of its beat.
type BeatRules struct {
	beat     Beat
	claiming map[domain.TaskID]bool
	held     []HeldAttempt
	index    map[AttemptRef]int // in held
}

// Rules are those of the beat.
func (b Beat) Rules() BeatRules {
	r := BeatRules{beat: b, claiming: make(map[domain.TaskID]bool, len(b.Claiming)), index: make(map[AttemptRef]int, len(b.Held))}
	for _, id := range b.Claiming {
		r.claiming[id] = true
	}
	for _, h := range b.Held {
		if i, twice := r.index[h.AttemptRef]; twice {
			r.held[i].Running = r.held[i].Running || h.Running
			r.held[i].GivenUp = r.held[i].GivenUp && h.GivenUp
			continue
		}
		r.index[h.AttemptRef] = len(r.held)
		r.held = append(r.held, h)
	}
	return r
}

// Portion is how many of the worker's tasks one statement of the beat is for, at most.
func (r BeatRules) Portion() int { return cmp.Or(r.beat.Portion, BeatPortion) }

// Answer is that of a beat after which the worker owns those attempts, each with whether it
// is asked to stop: a listed attempt that it does not own is lost. kept is why the store
// could not give back what it should have, nil if it could.
func (r BeatRules) Answer(owned map[AttemptRef]bool, gaveBack []*domain.Task, kept error) BeatAnswer {
	answer := BeatAnswer{GaveBack: gaveBack, Kept: kept}
	for _, held := range r.held {
		switch stop, ok := owned[held.AttemptRef]; {
		case !ok:
			answer.Lost = append(answer.Lost, held.AttemptRef)
		case stop:
			answer.Stop = append(answer.Stop, held.AttemptRef)
		}
	}
	return answer
}

// Decide says what becomes of a task that the worker owns, at the time now of the
// store; nil: nothing. A task that is listed as running is timed out once its
// deadline has passed, that is when now is after it. One that is listed as given up is
// taken from its attempt, and charged. One that is on no list is given back if it was
// claimed under a lower number than the beat's: the answer to its claim was lost. Under
// the beat's own number or a higher one, the claim came after the lists were made.
func (r BeatRules) Decide(t OwnedTask, now time.Time) Decide {
	i, held := r.index[t.AttemptRef]
	switch {
	case held && r.held[i].Running && now.After(t.Deadline):
		return r.beat.TimeOut
	case held && r.held[i].GivenUp:
		return r.beat.GiveUp
	case !held && !r.claiming[t.Task] && t.ClaimBeat < r.beat.Number:
		return r.beat.Release
	}
	return nil
}
