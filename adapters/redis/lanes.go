package redis

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// blockedFor is how long pulls leave out a key that is no list, before they try it again.
const blockedFor = 5 * time.Second

// blockedLanes are the lanes whose keys hold something other than a list. Such a lane
// counts as empty and loses what is pushed to it; its key is logged once. The others go on.
type blockedLanes struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[application.Lane]time.Time // last
}

func newBlockedLanes(log *slog.Logger) *blockedLanes {
	return &blockedLanes{log: log, seen: map[application.Lane]time.Time{}}
}

// block notes that the lane's key is no list.
func (b *blockedLanes) block(ctx context.Context, l application.Lane, key string) {
	b.mu.Lock()
	_, known := b.seen[l]
	b.seen[l] = time.Now()
	b.mu.Unlock()
	if !known {
		b.log.ErrorContext(ctx, "key is not a list: the tasks of its lane wait until the key is deleted", "key", key)
	}
}

// unblock notes that the lane's key is a list, or is not there.
func (b *blockedLanes) unblock(ctx context.Context, l application.Lane, key string) {
	b.mu.Lock()
	_, known := b.seen[l]
	delete(b.seen, l)
	b.mu.Unlock()
	if known {
		b.log.InfoContext(ctx, "lane usable again", "key", key)
	}
}

// blocked reports whether the lane's key was lately seen to be no list.
func (b *blockedLanes) blocked(l application.Lane) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen, known := b.seen[l]
	return known && time.Since(seen) < blockedFor
}

// known are the lanes whose keys were no lists when they were last seen, sorted.
func (b *blockedLanes) known() []application.Lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Keys(b.seen), func(l, m application.Lane) int {
		return cmp.Or(cmp.Compare(l.Queue, m.Queue), cmp.Compare(l.Priority, m.Priority))
	})
}

// Probe is the Probe of the whole queue: see Pool.
func (q *Queue) Probe(ctx context.Context) error { return q.pool.Probe(ctx) }

// ProbeLane tells whether the lane takes entries: it does not while its key holds
// something other than a list.
func (q *Queue) ProbeLane(ctx context.Context, l application.Lane) error {
	return q.probeLanes(ctx, []application.Lane{l})
}

// Lanes is the Probe of the lanes that a push, a pull or a look has found to hold
// something other than a list. Only their tasks wait; what is no list says nothing of
// other lanes.
func (q *Queue) Lanes() application.Probe { return laneProbe{q} }

type laneProbe struct{ queue *Queue }

// Probe looks at them again, within Limits.Probe, and names the key of one.
func (p laneProbe) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.queue.pool.target.limits.Probe)
	defer cancel()
	return p.queue.probeLanes(ctx, p.queue.blocked.known())
}

func (q *Queue) probeLanes(ctx context.Context, lanes []application.Lane) error {
	var blocked []application.Lane
	for chunk := range slices.Chunk(lanes, maxPerCommand) {
		if err := q.findBlocked(ctx, chunk); err != nil {
			return reason(err)
		}
		for _, l := range chunk {
			if q.blocked.blocked(l) {
				blocked = append(blocked, l)
			}
		}
	}
	switch n := len(blocked) - 1; {
	case n < 0:
		return nil
	case n > 0:
		return domain.Errorf(domain.CodeUnavailable, "the keys %s and %d more hold something other than a list: their tasks wait until they are deleted", q.key(blocked[0]), n)
	}
	return domain.Errorf(domain.CodeUnavailable, "the key %s holds something other than a list: its tasks wait until it is deleted", q.key(blocked[0]))
}

// onLane interprets the reply to a command on the lane's key. A key that is no list is
// noted, and is no error.
func (q *Queue) onLane(ctx context.Context, l application.Lane, reply any) (any, error) {
	err, refused := reply.(redigo.Error)
	switch {
	case !refused:
		q.blocked.unblock(ctx, l, q.key(l))
		return reply, nil
	case wrongType(err):
		q.blocked.block(ctx, l, q.key(l))
		return nil, nil
	}
	return nil, translate(err)
}

// findBlocked notes which of the lanes have keys that are no lists.
func (q *Queue) findBlocked(ctx context.Context, lanes []application.Lane) error {
	commands := make([]command, len(lanes))
	for i, l := range lanes {
		commands[i] = command{"TYPE", []any{q.key(l)}}
	}
	replies, err := q.pool.pipeline(ctx, commands)
	if err != nil {
		return err
	}
	for i, l := range lanes {
		found, err := redigo.String(replies[i], nil)
		switch {
		case err != nil:
			return translate(err)
		case found == "list" || found == "none":
			q.blocked.unblock(ctx, l, q.key(l))
		default:
			q.blocked.block(ctx, l, q.key(l))
		}
	}
	return nil
}
