package chaos

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// status is what a client can learn of a task. It is spelled out here, and not
// taken from the domain, which is what is tested.
type status string

const (
	absent     status = "absent"
	pending    status = "pending"
	processing status = "processing"
	completed  status = "completed"
	canceled   status = "canceled"
	failed     status = "failed"
)

type opKind string

const (
	opSubmit opKind = "submit"
	opCancel opKind = "cancel"
	opGet    opKind = "get"
	opReopen opKind = "reopen"
)

// operation is one request of a client, and what came of it.
type operation struct {
	key        string // the task
	kind       opKind
	start, end int64
	saw        observation
	unknown    bool  // it may have happened, may yet happen, or never
	by         int64 // so an unknown one: it has happened by then, or never; 0: there is no such time
}

// observation is what an answer shows of a task. Version 0: only the status.
type observation struct {
	status  status
	version int64
	attempt int
}

// state is what is known of a task at some moment: that it was as seen, or as
// least as far on if vague.
type state struct {
	observation
	vague bool
}

// serviceModel is the state machine of one task as clients see it. Whatever the
// workers do, they do between the operations: a claim, its end, a release, a
// failure, a rescue. Each makes the version one more; a claim makes the attempt one
// more. Only a client cancels, and what has ended stays exactly as it is, unless it
// has failed and a client reopens it.
//
// A repeated submission that was answered with the tasks of the first has read them.
// What an action on many tasks does to one of them, and whether, is never seen: it
// is a cancel, or an attempt to reopen it, whose answer is lost.
var serviceModel = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(operation).key
			byKey[key] = append(byKey[key], op)
		}
		parts := make([][]porcupine.Operation, 0, len(byKey))
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any { return []any{state{observation: observation{status: absent}}} },
	Step: func(from, input, _ any) []any {
		var next []any
		for _, s := range advance(from.(state), input.(operation)) {
			next = append(next, s)
		}
		return next
	},
}).ToModel()

func advance(from state, op operation) []state {
	switch {
	case op.kind == opSubmit:
		return submitted(from, op)
	case op.kind == opReopen:
		// No effect; or on the task at any time while it had failed.
		next := []state{from}
		switch from.status {
		case pending:
			next = append(next, state{observation{pending, from.version + 3, from.attempt + 1}, true})
		case processing:
			next = append(next, state{observation{pending, from.version + 2, from.attempt}, true})
		case failed:
			next = append(next, state{observation{pending, from.version + 1, from.attempt}, true})
		}
		return next
	case op.kind == opCancel && op.unknown:
		// No effect; or on the task at any time while it was pending.
		next := []state{from}
		if from.status == pending || from.status == processing {
			next = append(next, state{observation{canceled, from.version + 1, from.attempt}, true})
		}
		return next
	case op.kind == opCancel && op.saw.status == canceled:
		before := op.saw
		before.status, before.version = pending, op.saw.version-1
		if reaches(from, op.saw) || from.status != canceled && reaches(from, before) {
			return []state{{observation: op.saw}}
		}
		return nil
	case op.kind == opCancel && op.saw.status == pending:
		return nil // it could have been canceled
	case !reaches(from, op.saw):
		return nil
	case op.saw.version == 0 && op.saw.status == from.status:
		return []state{from}
	case op.saw.version == 0:
		return []state{{observation{op.saw.status, from.version + 1, from.attempt}, true}}
	}
	return []state{{observation: op.saw}}
}

// submitted is what becomes of a task by its submission.
func submitted(from state, op operation) []state {
	born := state{observation: observation{status: pending, version: 1}}
	switch {
	case op.unknown && from.status == absent:
		return []state{from, born}
	case op.unknown: // its key is remembered
		return []state{from}
	case from.status == absent && op.saw == born.observation:
		return []state{born}
	}
	return nil
}

// reaches reports whether the workers, and nobody else, can bring a task from
// one state to another.
func reaches(from state, to observation) bool {
	moves := to.version - from.version
	claims := int64(to.attempt - from.attempt)
	switch from.status {
	case pending, processing:
		if to.status == absent || to.status == canceled {
			return false
		}
	default: // absent, or ended
		if to.status != from.status {
			return false
		}
	}
	switch {
	case to.version == 0: // only the status was seen
		return true
	case from.vague:
		return moves >= 0 && claims >= 0
	case moves == 0:
		return to == from.observation
	case moves < 0 || from.status != pending && from.status != processing:
		return false
	}
	// Claims and their ends alternate: where it starts and how many there are says the rest.
	first := from.status == pending // the first move is a claim
	lastIsClaim := (moves%2 == 1) == first
	want := moves / 2
	if moves%2 == 1 && first {
		want++
	}
	return claims == want && lastIsClaim == (to.status == processing)
}

// withBulks adds to what clients saw of each task what the actions on its group may
// have done to it.
func (l *load) withBulks() []operation {
	all := slices.Clone(l.history)
	for _, b := range l.bulks {
		op := operation{kind: opCancel, start: b.start, by: b.ended, unknown: true}
		if b.action == "retry" {
			op.kind = opReopen
		}
		for _, s := range l.submissions {
			if s.wrong || b.ended > 0 && s.sent.Sub(l.begun).Nanoseconds() > b.ended {
				continue
			}
			for _, w := range s.specs {
				if b.means(w.group()) {
					op.key = w.Message
					all = append(all, op)
				}
			}
		}
	}
	return all
}

// checkHistory reports whether one correct service could have given these answers.
func checkHistory(history []operation, patience time.Duration) porcupine.CheckResult {
	ops := make([]porcupine.Operation, 0, len(history))
	for _, op := range history {
		if op.unknown {
			if op.kind == opGet {
				continue // it has told nothing and changed nothing
			}
			if op.end = op.by; op.by == 0 {
				op.end = math.MaxInt64
			}
		}
		ops = append(ops, porcupine.Operation{Input: op, Call: op.start, Return: op.end})
	}
	return porcupine.CheckOperationsTimeout(serviceModel, ops, patience)
}

// historyCase is a history of one task, and whether one correct service could have given it.
type historyCase struct {
	history []operation
	want    porcupine.CheckResult
}

func historyCases() map[string]historyCase {
	at := func(start, end int64, kind opKind, saw observation) operation {
		return operation{key: "task", kind: kind, start: start, end: end, saw: saw}
	}
	lost := func(start int64, kind opKind) operation {
		return operation{key: "task", kind: kind, start: start, end: start + 1, unknown: true}
	}
	born := at(0, 1, opSubmit, observation{pending, 1, 0})
	bulk := func(start int64, kind opKind, by int64) operation {
		return operation{key: "task", kind: kind, start: start, unknown: true, by: by}
	}
	return map[string]historyCase{
		"from submission to completion": {[]operation{
			born, at(2, 3, opGet, observation{processing, 2, 1}), at(4, 5, opCancel, observation{status: processing}),
			at(6, 7, opGet, observation{completed, 3, 1}), at(8, 9, opCancel, observation{status: completed}), at(10, 11, opGet, observation{completed, 3, 1}),
		}, porcupine.Ok},
		"a second attempt":                          {[]operation{born, at(2, 3, opGet, observation{completed, 5, 2})}, porcupine.Ok},
		"an attempt too few":                        {[]operation{born, at(2, 3, opGet, observation{completed, 5, 1})}, porcupine.Illegal},
		"a change too many":                         {[]operation{born, at(2, 3, opGet, observation{completed, 4, 1})}, porcupine.Illegal},
		"canceled":                                  {[]operation{born, at(2, 3, opCancel, observation{canceled, 2, 0}), at(4, 5, opCancel, observation{canceled, 2, 0})}, porcupine.Ok},
		"canceled after a release":                  {[]operation{born, at(2, 3, opCancel, observation{canceled, 4, 1})}, porcupine.Ok},
		"canceled while it ran":                     {[]operation{born, at(2, 3, opCancel, observation{canceled, 3, 1})}, porcupine.Illegal},
		"canceled by nobody":                        {[]operation{born, at(2, 3, opGet, observation{canceled, 2, 0})}, porcupine.Illegal},
		"completed after a cancel":                  {[]operation{born, at(2, 3, opCancel, observation{canceled, 2, 0}), at(4, 5, opGet, observation{completed, 3, 1})}, porcupine.Illegal},
		"completed twice":                           {[]operation{born, at(2, 3, opGet, observation{completed, 3, 1}), at(4, 5, opGet, observation{completed, 5, 2})}, porcupine.Illegal},
		"back in time":                              {[]operation{born, at(2, 3, opGet, observation{processing, 2, 1}), at(4, 5, opGet, observation{pending, 1, 0})}, porcupine.Illegal},
		"at the same time":                          {[]operation{born, at(2, 5, opGet, observation{processing, 2, 1}), at(3, 6, opGet, observation{pending, 1, 0})}, porcupine.Ok},
		"lost":                                      {[]operation{born, at(2, 3, opGet, observation{status: absent})}, porcupine.Illegal},
		"a lost answer to a submission, stored":     {[]operation{lost(0, opSubmit), at(9, 10, opGet, observation{pending, 1, 0})}, porcupine.Ok},
		"a lost answer to a submission, not stored": {[]operation{lost(0, opSubmit), at(9, 10, opGet, observation{status: absent})}, porcupine.Ok},
		"a lost answer to a cancel":                 {[]operation{born, lost(2, opCancel), at(9, 10, opGet, observation{canceled, 2, 0})}, porcupine.Ok},
		"a cancel that comes late": {[]operation{
			born, lost(2, opCancel), at(9, 10, opGet, observation{pending, 1, 0}), at(11, 12, opGet, observation{canceled, 2, 0}),
		}, porcupine.Ok},
		"a cancel refused while it waits":  {[]operation{born, at(2, 3, opCancel, observation{status: pending})}, porcupine.Illegal},
		"submitted again with its key":     {[]operation{lost(0, opSubmit), at(2, 3, opSubmit, observation{pending, 1, 0}), at(4, 5, opGet, observation{processing, 2, 1})}, porcupine.Ok},
		"made again by its key":            {[]operation{born, at(2, 3, opSubmit, observation{pending, 1, 0})}, porcupine.Illegal},
		"replayed as it was not":           {[]operation{born, at(2, 3, opGet, observation{completed, 3, 1}), at(4, 5, opGet, observation{status: processing})}, porcupine.Illegal},
		"replayed and never made":          {[]operation{at(0, 1, opGet, observation{status: pending})}, porcupine.Illegal},
		"failed":                           {[]operation{born, at(2, 3, opGet, observation{failed, 5, 2})}, porcupine.Ok},
		"reopened by nobody":               {[]operation{born, at(2, 3, opGet, observation{failed, 3, 1}), at(4, 5, opGet, observation{completed, 6, 2})}, porcupine.Illegal},
		"reopened":                         {[]operation{born, at(2, 3, opGet, observation{failed, 3, 1}), bulk(3, opReopen, 0), at(4, 5, opGet, observation{completed, 6, 2})}, porcupine.Ok},
		"reopened before it was seen to":   {[]operation{born, bulk(2, opReopen, 0), at(4, 5, opGet, observation{completed, 6, 2})}, porcupine.Ok},
		"reopened, and not by then":        {[]operation{born, at(2, 3, opGet, observation{processing, 2, 1}), bulk(3, opReopen, 4), at(5, 6, opGet, observation{failed, 3, 1}), at(7, 8, opGet, observation{completed, 6, 2})}, porcupine.Illegal},
		"canceled with its group":          {[]operation{born, bulk(2, opCancel, 5), at(4, 5, opGet, observation{canceled, 2, 0})}, porcupine.Ok},
		"canceled with its group too late": {[]operation{born, bulk(2, opCancel, 5), at(6, 7, opGet, observation{pending, 1, 0}), at(8, 9, opGet, observation{canceled, 2, 0})}, porcupine.Illegal},
		"refused by an end that was not":   {[]operation{born, at(2, 3, opCancel, observation{status: completed}), at(4, 5, opGet, observation{processing, 2, 1})}, porcupine.Illegal},
	}
}

func TestHistory_TellsWhatNoServiceCouldAnswer(t *testing.T) {
	for name, c := range historyCases() {
		if got := checkHistory(c.history, time.Minute); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}
