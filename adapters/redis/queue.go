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

	"github.com/millrace/millrace/application"
)

var _ application.Queue = (*Queue)(nil)

const (
	listName  = "queue:default"
	pullWait  = 2 * time.Second // then a pull returns none: one command in 2 seconds from an idle worker
	pushChunk = 1000            // entries in one command: Redis does one command at a time
	stopGrace = time.Second     // for the answer to a pull whose context has ended
	stopRetry = 5 * time.Millisecond
)

// Queue is one list: pushed at its tail, pulled at its head. An entry that
// cannot be read is dropped and logged.
type Queue struct {
	pool    *Pool
	log     *slog.Logger
	key     string
	dropped atomic.Int64
}

// NewQueue makes the queue; nothing has to exist in Redis.
func NewQueue(pool *Pool, log *slog.Logger) *Queue {
	return &Queue{pool: pool, log: log, key: pool.key(listName)}
}

// Push appends the entries; a thousand at a time, so that after an error some may
// be there.
func (q *Queue) Push(ctx context.Context, entries ...application.Entry) error {
	for chunk := range slices.Chunk(entries, pushChunk) {
		args := make([]any, 0, 1+len(chunk))
		args = append(args, q.key)
		for _, e := range chunk {
			args = append(args, encodeEntry(e))
		}
		if _, err := q.pool.do(ctx, "RPUSH", args...); err != nil {
			return fmt.Errorf("push %d entries: %w", len(entries), err)
		}
	}
	return nil
}

// Pull takes at most n entries; it returns none if there was none for 2 seconds.
// When ctx ends it has Redis end the wait, so that what Redis has taken off the
// list for it is not lost on the way; that may take a second if Redis does not
// answer.
func (q *Queue) Pull(ctx context.Context, n int) ([]application.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	texts, err := q.pull(ctx, n)
	if len(texts) > 0 {
		return q.read(ctx, texts), nil
	}
	if ended := endOf(ctx); ended != nil {
		return nil, ended
	}
	if err != nil {
		return nil, fmt.Errorf("pull: %w", translate(err))
	}
	return nil, nil
}

// answer is what became of a waiting command.
type answer struct {
	texts []string
	err   error
}

func (q *Queue) pull(ctx context.Context, n int) ([]string, error) {
	c, err := q.pool.takeWaiting(ctx)
	if err != nil {
		return nil, err
	}
	defer q.pool.giveWaiting(c)
	answers := make(chan answer, 1)
	go func() {
		texts, err := parsePopped(c.doWithin(pullWait+q.pool.target.timeout, "BLMPOP", pullWait.Seconds(), 1, q.key, "LEFT", "COUNT", n))
		answers <- answer{texts, err}
	}()
	select {
	case a := <-answers:
		return a.texts, a.err
	case <-ctx.Done():
		a := q.stop(ctx, c, answers)
		return a.texts, a.err
	}
}

// stop ends the wait of c and returns its answer. Redis may see the request before
// the command that it is to end, so it is repeated. If there is no answer in time
// the connection is closed, which ends the command here.
func (q *Queue) stop(ctx context.Context, c *conn, answers <-chan answer) answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	for {
		if _, err := q.pool.do(ctx, "CLIENT", "UNBLOCK", c.id, "TIMEOUT"); err != nil {
			break
		}
		select {
		case a := <-answers:
			return a
		case <-time.After(stopRetry):
		}
	}
	_ = c.Close() // it is no longer of use
	return <-answers
}

// parsePopped reads the answer to BLMPOP: the key and its elements, or nil.
func parsePopped(reply any, err error) ([]string, error) {
	parts, err := redigo.Values(reply, err)
	switch {
	case errors.Is(err, redigo.ErrNil):
		return nil, nil
	case err != nil:
		return nil, err
	case len(parts) != 2:
		return nil, fmt.Errorf("BLMPOP has answered with %d parts", len(parts))
	}
	return redigo.Strings(parts[1], nil)
}

// read reads entries, and drops those that cannot be read.
func (q *Queue) read(ctx context.Context, texts []string) []application.Entry {
	entries := make([]application.Entry, 0, len(texts))
	var bad []string
	for _, text := range texts {
		e, err := parseEntry(text)
		if err != nil {
			bad = append(bad, text)
			continue
		}
		entries = append(entries, e)
	}
	if len(bad) > 0 {
		q.report(ctx, len(bad), bad[0])
	}
	return entries
}

// report logs entries that were dropped: one line for all of a call.
func (q *Queue) report(ctx context.Context, n int, example string) {
	total := q.dropped.Add(int64(n))
	q.log.ErrorContext(ctx, "dropped entries of the queue that cannot be read",
		"key", q.key, "dropped", n, "dropped_since_start", total, "example", example[:min(len(example), 100)])
}

// Oldest returns when the entry at the head was marked. A head that cannot be
// read is removed: nobody may be pulling.
func (q *Queue) Oldest(ctx context.Context) (time.Time, bool, error) {
	for {
		text, err := redigo.String(q.pool.do(ctx, "LINDEX", q.key, 0))
		if errors.Is(err, redigo.ErrNil) {
			return time.Time{}, false, nil
		}
		if err != nil {
			return time.Time{}, false, fmt.Errorf("look at the oldest entry: %w", err)
		}
		if e, err := parseEntry(text); err == nil {
			return e.QueuedAt, true, nil
		}
		removed, err := redigo.Int(q.pool.do(ctx, "LREM", q.key, 1, text))
		if err != nil {
			return time.Time{}, false, fmt.Errorf("remove an entry that cannot be read: %w", err)
		}
		if removed > 0 { // else a pull has dropped it
			q.report(ctx, removed, text)
		}
	}
}

// Length counts the entries.
func (q *Queue) Length(ctx context.Context) (int, error) {
	n, err := redigo.Int(q.pool.do(ctx, "LLEN", q.key))
	if err != nil {
		return 0, fmt.Errorf("count the entries: %w", err)
	}
	return n, nil
}
