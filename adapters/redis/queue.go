package redis

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/adapters/internal/group"
	"github.com/millrace/millrace/application"
)

var _ application.Queue = (*Queue)(nil)

// maxPerCommand bounds the entries of one command, and the commands that are sent
// together: Redis runs one command at a time.
const maxPerCommand = 1000

// pushMaxStall: when a push that took longer has failed, whoever has waited longer
// for it to end has failed too.
const pushMaxStall = 100 * time.Millisecond

// Queue keeps each lane in a Redis list: entries are pushed at its tail and pulled at
// its head. A malformed entry is dropped and logged. A key that is no list counts as an
// empty lane and concerns no other. There are no scripts: a user without EVAL will do.
type Queue struct {
	pool    *Pool
	log     *slog.Logger
	dropped atomic.Int64
	blocked *blockedLanes
	pushes  *group.Group[[]application.Entry]
}

// NewQueue makes the queue; nothing has to exist in Redis.
func NewQueue(pool *Pool, log *slog.Logger) *Queue {
	q := &Queue{pool: pool, log: log, blocked: newBlockedLanes(log)}
	q.pushes = group.New(group.Config[[]application.Entry]{
		Commit: q.pushAll, MaxCount: maxPerCommand, MaxStall: pushMaxStall, BestEffort: true,
		Size: func(entries []application.Entry) (int, int) { return len(entries), 0 },
	})
	return q
}

// key is the key of the lane's list.
func (q *Queue) key(l application.Lane) string { return q.pool.key(encodeLane(l)) }

// Push appends the entries, in one round trip with those of other callers, of at most a
// thousand entries. After an error some of them may have been pushed.
func (q *Queue) Push(ctx context.Context, entries ...application.Entry) error {
	err := q.pushes.Do(ctx, entries)
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil { // the push may go on without its caller
		err = translate(ended)
	}
	return fmt.Errorf("push %d entries: %w", len(entries), err)
}

// pushAll appends the entries of many callers, in the order in which they came.
func (q *Queue) pushAll(pushes [][]application.Entry) error {
	for chunk := range slices.Chunk(slices.Concat(pushes...), maxPerCommand) {
		if err := q.push(context.Background(), "RPUSH", chunk); err != nil {
			return err
		}
	}
	return nil
}

// PutBack puts the entries at the heads of their lanes, from the last to the first, at
// most a thousand at a time. After an error some of them may have been put back.
func (q *Queue) PutBack(ctx context.Context, entries ...application.Entry) error {
	reversed := slices.Clone(entries) // the last that is pushed is the head
	slices.Reverse(reversed)
	for chunk := range slices.Chunk(reversed, maxPerCommand) {
		if err := q.push(ctx, "LPUSH", chunk); err != nil {
			return fmt.Errorf("put %d entries back: %w", len(entries), err)
		}
	}
	return nil
}

// push pushes to one end of the lanes, with one command a lane, all sent together. What
// belongs to a key that is no list is dropped.
func (q *Queue) push(ctx context.Context, name string, entries []application.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	var lanes []application.Lane
	args := map[application.Lane][]any{}
	for _, e := range entries {
		if args[e.Lane] == nil {
			lanes, args[e.Lane] = append(lanes, e.Lane), []any{q.key(e.Lane)}
		}
		args[e.Lane] = append(args[e.Lane], encodeEntry(e))
	}
	commands := make([]command, len(lanes))
	for i, l := range lanes {
		commands[i] = command{name, args[l]}
	}
	replies, err := q.pool.pipeline(ctx, commands)
	for i, reply := range replies {
		if _, refused := q.onLane(ctx, lanes[i], reply); err == nil {
			err = refused
		}
	}
	q.pool.health.note(workPush, err)
	return err
}

// Oldest returns when the entries at the heads were marked; a thousand heads are read at a
// time. A malformed head is removed, because there may be no worker that pulls it.
func (q *Queue) Oldest(ctx context.Context, lanes ...application.Lane) (map[application.Lane]time.Time, error) {
	oldest := make(map[application.Lane]time.Time, len(lanes))
	for chunk := range slices.Chunk(lanes, maxPerCommand) {
		for len(chunk) > 0 {
			again, err := q.heads(ctx, chunk, oldest)
			if err != nil {
				return nil, fmt.Errorf("read the oldest entries: %w", err)
			}
			chunk = again
		}
	}
	return oldest, nil
}

// heads stores the times of the heads in oldest, and returns the lanes to ask for again
// because their heads were malformed.
func (q *Queue) heads(ctx context.Context, lanes []application.Lane, oldest map[application.Lane]time.Time) (again []application.Lane, err error) {
	commands := make([]command, len(lanes))
	for i, l := range lanes {
		commands[i] = command{"LINDEX", []any{q.key(l), 0}}
	}
	heads, err := q.pool.pipeline(ctx, commands)
	if err != nil {
		return nil, err
	}
	for i, l := range lanes {
		head, err := q.onLane(ctx, l, heads[i])
		if err != nil {
			return nil, err
		}
		if head == nil {
			continue
		}
		text, err := redigo.String(head, nil)
		if err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		if e, err := parseEntry(l, text); err == nil {
			oldest[l] = e.QueuedAt
			continue
		}
		if err := q.remove(ctx, l, text); err != nil {
			return nil, err
		}
		again = append(again, l)
	}
	return again, nil
}

// remove removes a malformed entry, unless a pull has dropped it meanwhile.
func (q *Queue) remove(ctx context.Context, l application.Lane, text string) error {
	removed, err := redigo.Int(q.pool.do(ctx, "LREM", q.key(l), 1, text))
	if err != nil && !wrongType(err) {
		return fmt.Errorf("remove a malformed entry: %w", err)
	}
	if removed > 0 {
		q.logDropped(ctx, l, removed, text)
	}
	return nil
}

// logDropped logs entries that were dropped: one line a call.
func (q *Queue) logDropped(ctx context.Context, l application.Lane, n int, example string) {
	total := q.dropped.Add(int64(n))
	q.log.ErrorContext(ctx, "dropped malformed queue entries",
		"key", q.key(l), "dropped", n, "dropped_since_start", total, "example", example[:min(len(example), 100)])
}
