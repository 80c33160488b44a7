package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/adapters/internal/group"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Queue = (*Queue)(nil)

// maxPerCommand bounds the entries and the lanes of one command: Redis runs one command
// at a time.
const maxPerCommand = 1000

// pushMaxStall: when a push that took longer has failed, whoever has waited longer
// for it to end has failed too.
const pushMaxStall = 100 * time.Millisecond

// pushScript pushes to several lists.
// KEYS: the lists. ARGV: RPUSH or LPUSH, then for each list how many entries it
// gets, and these. Result: none.
const pushScript = `
local at = 2
for _, list in ipairs(KEYS) do
	local last = at + ARGV[at]
	redis.call(ARGV[1], list, unpack(ARGV, at + 1, last))
	at = last + 1
end`

// headScript reads the heads of several lists.
// KEYS: the lists. Result: the entry at the head of each, nil for an empty one.
const headScript = `
local heads = {}
for i, list in ipairs(KEYS) do
	heads[i] = redis.call('LINDEX', list, 0)
end
return heads`

// Queue keeps each lane in a Redis list: entries are pushed at its tail and pulled at
// its head. A malformed entry is dropped and logged.
type Queue struct {
	pool    *Pool
	log     *slog.Logger
	dropped atomic.Int64
	pushes  *group.Group[[]application.Entry]
}

// NewQueue makes the queue; nothing has to exist in Redis.
func NewQueue(pool *Pool, log *slog.Logger) *Queue {
	q := &Queue{pool: pool, log: log}
	q.pushes = group.New(group.Config[[]application.Entry]{
		Commit: q.pushAll, MaxCount: maxPerCommand, MaxStall: pushMaxStall, BestEffort: true,
		Size: func(entries []application.Entry) (int, int) { return len(entries), 0 },
		// A key that holds something other than a list concerns one lane alone. Some entries
		// may be pushed twice.
		SplitOn: func(err error) bool { return !errors.Is(err, domain.ErrUnavailable) },
	})
	return q
}

// key is the key of the lane's list.
func (q *Queue) key(l application.Lane) string { return q.pool.key(encodeLane(l)) }

// Push appends the entries, in one command with those of other callers. A command has
// at most a thousand, so after an error some of them may have been pushed.
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

// PutBack puts the entries at the heads of their lanes, from the last to the first. A
// command has at most a thousand, so after an error some of them may have been put back.
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

// push pushes to one end of the lanes, in one command.
func (q *Queue) push(ctx context.Context, command string, entries []application.Entry) error {
	var lanes []application.Lane
	texts := map[application.Lane][]any{}
	for _, e := range entries {
		if texts[e.Lane] == nil {
			lanes = append(lanes, e.Lane)
		}
		texts[e.Lane] = append(texts[e.Lane], encodeEntry(e))
	}
	if len(lanes) == 1 {
		_, err := q.pool.do(ctx, command, append([]any{q.key(lanes[0])}, texts[lanes[0]]...)...)
		return err
	}
	args := []any{pushScript, len(lanes)}
	for _, l := range lanes {
		args = append(args, q.key(l))
	}
	args = append(args, command)
	for _, l := range lanes {
		args = append(append(args, len(texts[l])), texts[l]...)
	}
	_, err := q.pool.do(ctx, "EVAL", args...)
	return err
}

// Oldest returns when the entries at the heads were marked; one command reads a thousand
// heads. A malformed head is removed, because there may be no worker that pulls it.
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
	args := []any{headScript, len(lanes)}
	for _, l := range lanes {
		args = append(args, q.key(l))
	}
	heads, err := redigo.Values(q.pool.do(ctx, "EVAL", args...))
	if err != nil {
		return nil, err
	}
	if len(heads) != len(lanes) {
		return nil, fmt.Errorf("redis: got %d heads for %d lanes", len(heads), len(lanes))
	}
	for i, l := range lanes {
		if heads[i] == nil {
			continue
		}
		text, err := redigo.String(heads[i], nil)
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
	if err != nil {
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
