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

// atOnce bounds the entries of one command, and its lists: Redis does one command
// at a time.
const atOnce = 1000

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

// headScript looks at the heads of several lists.
// KEYS: the lists. Result: the entry at the head of each, nil for an empty one.
const headScript = `
local heads = {}
for i, list in ipairs(KEYS) do
	heads[i] = redis.call('LINDEX', list, 0)
end
return heads`

// Queue is one list for every queue and priority: pushed at its tail, pulled at its
// head. An entry that cannot be read is dropped and logged.
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
		Commit: q.pushAll, MaxCount: atOnce, MaxStall: pushMaxStall, BestEffort: true,
		Size: func(entries []application.Entry) (int, int) { return len(entries), 0 },
		// A key that is no list is one queue's trouble. Some entries may be pushed twice.
		SplitOn: func(err error) bool { return !errors.Is(err, domain.ErrUnavailable) },
	})
	return q
}

// key is the full name of a list.
func (q *Queue) key(l application.Lane) string { return q.pool.key(encodeList(l)) }

// Push appends the entries, in one command with those of other callers; a thousand
// at a time, so that after an error some may be there.
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
	for chunk := range slices.Chunk(slices.Concat(pushes...), atOnce) {
		if err := q.push(context.Background(), "RPUSH", chunk); err != nil {
			return err
		}
	}
	return nil
}

// PutBack puts the entries at the heads of their lists; a thousand at a time, from
// the last, so that after an error some may be there.
func (q *Queue) PutBack(ctx context.Context, entries ...application.Entry) error {
	reversed := slices.Clone(entries) // the last that is pushed is the head
	slices.Reverse(reversed)
	for chunk := range slices.Chunk(reversed, atOnce) {
		if err := q.push(ctx, "LPUSH", chunk); err != nil {
			return fmt.Errorf("put %d entries back: %w", len(entries), err)
		}
	}
	return nil
}

// push pushes to one end of the lists, in one command.
func (q *Queue) push(ctx context.Context, command string, entries []application.Entry) error {
	var lists []application.Lane
	texts := map[application.Lane][]any{}
	for _, e := range entries {
		if texts[e.Lane] == nil {
			lists = append(lists, e.Lane)
		}
		texts[e.Lane] = append(texts[e.Lane], encodeEntry(e))
	}
	if len(lists) == 1 {
		_, err := q.pool.do(ctx, command, append([]any{q.key(lists[0])}, texts[lists[0]]...)...)
		return err
	}
	args := []any{pushScript, len(lists)}
	for _, l := range lists {
		args = append(args, q.key(l))
	}
	args = append(args, command)
	for _, l := range lists {
		args = append(append(args, len(texts[l])), texts[l]...)
	}
	_, err := q.pool.do(ctx, "EVAL", args...)
	return err
}

// Oldest returns when the entries at the heads were marked; it looks at a thousand
// lists at a time. A head that cannot be read is removed: nobody may be pulling.
func (q *Queue) Oldest(ctx context.Context, lists ...application.Lane) (map[application.Lane]time.Time, error) {
	oldest := make(map[application.Lane]time.Time, len(lists))
	for chunk := range slices.Chunk(lists, atOnce) {
		for len(chunk) > 0 {
			again, err := q.heads(ctx, chunk, oldest)
			if err != nil {
				return nil, fmt.Errorf("look at the oldest entries: %w", err)
			}
			chunk = again
		}
	}
	return oldest, nil
}

// heads notes the times of the heads, and returns the lists to look at again
// because their heads could not be read.
func (q *Queue) heads(ctx context.Context, lists []application.Lane, oldest map[application.Lane]time.Time) (again []application.Lane, err error) {
	args := []any{headScript, len(lists)}
	for _, l := range lists {
		args = append(args, q.key(l))
	}
	heads, err := redigo.Values(q.pool.do(ctx, "EVAL", args...))
	if err != nil {
		return nil, err
	}
	if len(heads) != len(lists) {
		return nil, fmt.Errorf("redis: %d heads of %d lists", len(heads), len(lists))
	}
	for i, l := range lists {
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

// remove removes an entry that cannot be read, unless a pull has dropped it.
func (q *Queue) remove(ctx context.Context, l application.Lane, text string) error {
	removed, err := redigo.Int(q.pool.do(ctx, "LREM", q.key(l), 1, text))
	if err != nil {
		return fmt.Errorf("remove an entry that cannot be read: %w", err)
	}
	if removed > 0 {
		q.report(ctx, l, removed, text)
	}
	return nil
}

// Length counts the entries of the list.
func (q *Queue) Length(ctx context.Context, l application.Lane) (int, error) {
	n, err := redigo.Int(q.pool.do(ctx, "LLEN", q.key(l)))
	if err != nil {
		return 0, fmt.Errorf("count the entries: %w", err)
	}
	return n, nil
}

// report logs entries that were dropped: one line for all of a call.
func (q *Queue) report(ctx context.Context, l application.Lane, n int, example string) {
	total := q.dropped.Add(int64(n))
	q.log.ErrorContext(ctx, "dropped entries of the queue that cannot be read",
		"key", q.key(l), "dropped", n, "dropped_since_start", total, "example", example[:min(len(example), 100)])
}
