package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

const (
	purgeLimit = 2000             // tasks that one step looks at, and deletes
	purgePause = 15 * time.Second // between two rounds
	purgeShare = 20               // it works a twentieth of the time: 5 % of a connection
	// slowPurge is for how long a step may delete: in a store with one writer, submissions
	// wait for as long.
	slowPurge = 250 * time.Millisecond
	// holdPurge is how long a worker keeps the purge from the others after a step, and
	// renewPurge how often it says so while it rests.
	holdPurge  = 45 * time.Second
	renewPurge = 20 * time.Second
	// clocksDiffer is by how much no clock is ahead: nothing has an id of a later time but
	// what was made elsewhere.
	clocksDiffer = 24 * time.Hour
)

// lastID is no id of a task, and above them all.
var lastID = domain.TaskID(slices.Repeat([]byte{0xff}, len(domain.TaskID{})))

// purgeWalks are what a round consists of.
var purgeWalks = []application.PurgeWalk{application.PurgeOwn, application.PurgeAll}

// Purge deletes the tasks that have expired. Ids are in the order of creation, so it walks
// along them from a cursor that is stored: a round goes to the end, and begins anew after a
// pause. What is too young to have expired it does not read: nothing expires that was made
// after now less the shortest time for which any task is kept; tasks that say that
// themselves have a walk of their own. So a round costs what may have expired, however much
// is too young, but reads anew what is kept for longer than the shortest time: by default
// failed tasks between 7 and 30 days of age. Ids of another making are in any order: those
// of times to come are looked at, too.
//
// One worker purges for all. Each step is followed by a rest of 19 times its length. One
// that deleted for longer than slowPurge is followed by a smaller one.
type Purge struct {
	Deps
	worker    domain.WorkerID
	retention domain.Retention // the default
	portion   *loop.Portion    // of one step

	mine   bool // this worker has the sweep
	walk   int  // of purgeWalks
	known  bool // the cursor of the walk is
	cursor domain.TaskID
	took   time.Duration // by the deletion of the last step
	// The earliest time at which a task had expired that this round has met, or the last
	// one has left behind; and what this one leaves behind, as it is locked or refused.
	met, left time.Time
}

// NewPurge makes the sweep of a worker, for tasks that are kept for so long by default.
func NewPurge(deps Deps, worker domain.WorkerID, byDefault domain.Retention) *Purge {
	return &Purge{Deps: deps, worker: worker, retention: byDefault, portion: loop.NewPortion(purgeLimit)}
}

// Run purges until ctx ends.
func (s *Purge) Run(ctx context.Context) {
	wait := purgePause
	for s.rest(ctx, wait) {
		begun := time.Now()
		done, err := s.Step(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil || s.mine { // another worker's purge says nothing of this one's
			s.Events.LoopRan(ctx, application.SweepPurge, err)
		}
		wait = (purgeShare - 1) * time.Since(begun)
		switch {
		case err != nil && !application.TookTooLong(err): // another worker may have better luck
			s.release(ctx)
			wait = max(wait, retryInterval)
		case done:
			wait = max(wait, purgePause)
		}
	}
	s.release(ctx)
}

// rest waits, and keeps the sweep meanwhile; false if ctx ended first. If it cannot be kept,
// the next step finds out.
func (s *Purge) rest(ctx context.Context, d time.Duration) bool {
	for ; s.mine && d > renewPurge; d -= renewPurge {
		if !loop.Sleep(ctx, renewPurge) {
			return false
		}
		_, _ = s.Tasks.AcquireSweep(ctx, application.SweepPurge, s.worker, holdPurge)
	}
	return loop.Sleep(ctx, d)
}

// release gives the sweep up. If that fails, it becomes free by itself.
func (s *Purge) release(ctx context.Context) {
	if !s.mine {
		return
	}
	s.forget()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.Tasks.ReleaseSweep(ctx, application.SweepPurge, s.worker)
}

// forget begins a round, from the cursors as they are stored then. How late it is stays
// known: after a failure that is so until somebody has purged.
func (s *Purge) forget() { s.mine, s.walk, s.known = false, 0, false }

// Step looks at the next tasks of the walk and deletes those that have expired. It reports
// whether the round is done, or another worker has the sweep. After one that took too long
// the next is smaller. After a failure it tells how late it is, as one that succeeds does.
// It is not safe for concurrent use.
func (s *Purge) Step(ctx context.Context) (done bool, err error) {
	mine, err := s.Tasks.AcquireSweep(ctx, application.SweepPurge, s.worker, holdPurge)
	if err != nil || !mine {
		s.forget()
		if err == nil {
			s.met, s.left = time.Time{}, time.Time{}
		}
		return true, err
	}
	s.mine = true
	if done, err = s.next(ctx); err != nil && !s.met.IsZero() {
		s.Events.Purged(ctx, 0, s.late(s.Clock.Now()))
	}
	return done, err
}

// next is Step for the worker that has the sweep.
func (s *Purge) next(ctx context.Context) (done bool, err error) {
	rules := domain.RetentionRules{Default: s.retention}
	if rules.Queues, err = s.Queues.Retentions(ctx); err != nil {
		return false, err
	}
	if !s.known {
		if s.cursor, err = s.Purges.PurgeCursor(ctx, purgeWalks[s.walk]); err != nil {
			return false, err
		}
	}
	limit := s.portion.Size()
	found, ended, err := s.step(ctx, rules, limit)
	if err == nil && s.took > slowPurge {
		s.portion.NoteSlow(limit)
	} else {
		s.portion.Note(limit, found, err)
	}
	if err != nil || !ended {
		return false, err
	}
	s.known = false
	if s.walk++; s.walk < len(purgeWalks) {
		return false, nil
	}
	s.walk = 0
	s.met, s.left = s.left, time.Time{}
	s.Events.Purged(ctx, 0, s.late(s.Clock.Now()))
	return true, nil
}

// step is a step that may look at so many tasks. It returns how many there were, and
// whether the walk has come to its end.
func (s *Purge) step(ctx context.Context, rules domain.RetentionRules, limit int) (found int, ended bool, err error) {
	now := s.Clock.Now()
	s.known, s.took = false, 0 // after an error nobody knows what became of the step
	candidates, to, err := s.candidates(ctx, rules.Shortest(), now, limit)
	if err != nil {
		return 0, false, err
	}
	step := application.PurgeStep{Walk: purgeWalks[s.walk], From: s.cursor, To: to}
	expiredAt := map[domain.TaskID]time.Time{}
	for _, c := range candidates {
		if at, expires := rules.ExpiresAt(c); expires && !at.After(now) {
			step.Expired, expiredAt[c.ID] = append(step.Expired, c), at
		}
	}
	if len(step.Expired) > 0 || step.From != step.To {
		moved, err := s.purge(ctx, step, expiredAt, now)
		if err != nil || !moved { // another worker has
			return len(candidates), false, err
		}
	}
	s.cursor, s.known = to, true
	return len(candidates), to == domain.TaskID{}, nil
}

// purge deletes what has expired, and tells of it. It notes how late that is before: a
// purge that fails is as late.
func (s *Purge) purge(ctx context.Context, step application.PurgeStep, expiredAt map[domain.TaskID]time.Time, now time.Time) (moved bool, err error) {
	met := s.met
	for _, at := range expiredAt {
		s.met = earlier(s.met, at)
	}
	begun := s.Clock.Now()
	result, err := s.Purges.Purge(ctx, step)
	s.took = s.Clock.Now().Sub(begun)
	switch {
	case err != nil:
		return false, err
	case !result.Moved:
		s.met = met
		return false, nil
	}
	s.tell(ctx, result, expiredAt, now)
	return true, nil
}

// candidates are the next tasks that may have expired, and how far the walk comes with them:
// zero, if that is to its end.
func (s *Purge) candidates(ctx context.Context, shortest domain.Keep, now time.Time, limit int) (all []domain.PurgeCandidate, to domain.TaskID, err error) {
	for _, w := range s.windows(shortest, now) {
		w.Limit = limit
		found, err := s.Purges.PurgeCandidates(ctx, purgeWalks[s.walk], w)
		if err != nil {
			return nil, to, err
		}
		all = append(all, found...)
		if len(found) == limit {
			return all, found[limit-1].ID, nil
		}
	}
	return all, to, nil
}

// windows are what is left of the walk.
func (s *Purge) windows(shortest domain.Keep, now time.Time) (windows []application.PurgeWindow) {
	switch {
	case purgeWalks[s.walk] == application.PurgeOwn:
		return []application.PurgeWindow{{After: s.cursor, Before: lastID}}
	case shortest == domain.KeepForever:
		return nil
	}
	young, ahead := domain.FirstID(now.Add(-time.Duration(shortest))), domain.FirstID(now.Add(clocksDiffer))
	if below(s.cursor, young) {
		windows = append(windows, application.PurgeWindow{After: s.cursor, Before: young})
	}
	if below(ahead, s.cursor) {
		ahead = s.cursor
	}
	return append(windows, application.PurgeWindow{After: ahead, Before: lastID})
}

func below(a, b domain.TaskID) bool { return slices.Compare(a[:], b[:]) < 0 }

// tell tells what a step has done, and how late that was.
func (s *Purge) tell(ctx context.Context, r application.PurgeResult, expiredAt map[domain.TaskID]time.Time, now time.Time) {
	for id, err := range r.Refused {
		s.Events.TaskPassed(ctx, application.SweepPurge, id, err)
	}
	for _, id := range r.Purged {
		delete(expiredAt, id)
	}
	for _, at := range expiredAt {
		s.left = earlier(s.left, at)
	}
	s.Events.Purged(ctx, len(r.Purged), s.late(now))
}

// late is for how long the longest expired task was expired that the walk has met.
func (s *Purge) late(now time.Time) time.Duration {
	if s.met.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.met))
}

// earlier is the earlier of two times; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
