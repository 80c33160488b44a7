package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

const (
	maxWait   = 2 * time.Second // the longest wait of a pull: an idle worker sends one command in 2 seconds
	leastWait = time.Millisecond
	stopRetry = 5 * time.Millisecond
	// quiet: a connection that is closed after such a wait was closed because nothing
	// happened on it. One that is closed sooner has failed.
	quiet = 100 * time.Millisecond
	// maxTries bounds how often a pull meets another key that is no list.
	maxTries = 3
)

// Pull removes entries from the first lane that has any; it waits for at most 2 seconds.
// Redis checks its timeouts ten times a second, so a short wait may last that much
// longer. When ctx ends, Pull ends the wait on the server with CLIENT UNBLOCK, so that no
// entries are lost that Redis has popped already; if Redis does not answer, that takes up
// to a second. A connection that the server closes while it is quiet is replaced, and the
// pull goes on: a balancer's idle limit is no failure.
func (q *Queue) Pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	reply := q.pop(ctx, p)
	if ctx.Err() == nil {
		q.pool.health.note(workPull, translate(reply.err))
	}
	if len(reply.texts) > 0 {
		return q.parseEntries(ctx, reply.lane, reply.texts), nil
	}
	if ended := contextErr(ctx); ended != nil {
		return nil, ended
	}
	if reply.err != nil {
		return nil, fmt.Errorf("pull: %w", translate(reply.err))
	}
	return nil, nil
}

// popReply is the result of LMPOP or BLMPOP: nothing, or entries of one lane.
type popReply struct {
	lane  application.Lane
	texts []string
	err   error
}

// pop pops until it has got something or its time is over. The call timeout bounds what it
// takes beyond its wait, with all its tries.
func (q *Queue) pop(ctx context.Context, p application.PullRequest) popReply {
	end := time.Now().Add(max(0, min(p.Wait, maxWait)))
	for tries := 1; ; {
		lanes := q.pullable(p.Queues)
		if len(lanes) == 0 {
			return sleepUntil(ctx, end)
		}
		began := time.Now()
		reply := q.popOnce(ctx, lanes, p.Max, max(0, end.Sub(began)), end.Add(q.pool.target.limits.Call))
		switch {
		case reply.err == nil || ctx.Err() != nil:
			return reply
		case wrongType(reply.err) && tries < maxTries:
			tries++
			if err := q.findBlocked(ctx, lanes); err != nil {
				return popReply{err: err}
			}
		case lost(reply.err) && time.Since(began) >= quiet:
			if !time.Now().Before(end) {
				return popReply{}
			}
		default:
			return reply
		}
	}
}

// sleepUntil is a pop from no lane at all.
func sleepUntil(ctx context.Context, end time.Time) popReply {
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	select {
	case <-timer.C:
		return popReply{}
	case <-ctx.Done():
		return popReply{err: ctx.Err()}
	}
}

// popOnce sends one command. It does not wait for its reply after the limit.
func (q *Queue) popOnce(ctx context.Context, lanes []application.Lane, n int, wait time.Duration, limit time.Time) popReply {
	within, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	c, err := q.pool.acquireBlocking(within)
	if err != nil {
		return popReply{err: err}
	}
	defer q.pool.releaseBlocking(c)
	command, args := q.popCommand(lanes, n, wait)
	replies := make(chan popReply, 1)
	go func() {
		replies <- q.parsePopReply(c.doWithin(max(time.Until(limit), leastWait), command, args...))
	}()
	select {
	case reply := <-replies:
		return reply
	case <-ctx.Done():
		return q.unblock(ctx, c, replies)
	}
}

// pullable lists the lanes in the order in which they are pulled, without those whose keys
// are no lists: one of them would fail the command for all.
func (q *Queue) pullable(queues []domain.QueueName) []application.Lane {
	lanes := make([]application.Lane, 0, len(queues)*(domain.MaxPriority+1))
	for _, name := range queues {
		for priority := domain.MaxPriority; priority >= 0; priority-- {
			if l := (application.Lane{Queue: name, Priority: priority}); !q.blocked.blocked(l) {
				lanes = append(lanes, l)
			}
		}
	}
	return lanes
}

// popCommand makes the command. BLMPOP would wait for ever with a timeout of 0.
func (q *Queue) popCommand(lanes []application.Lane, n int, wait time.Duration) (string, []any) {
	args := make([]any, 0, len(lanes)+5)
	command := "LMPOP"
	if wait > 0 {
		command = "BLMPOP"
		args = append(args, max(wait, leastWait).Seconds())
	}
	args = append(args, len(lanes))
	for _, l := range lanes {
		args = append(args, q.key(l))
	}
	return command, append(args, "LEFT", "COUNT", n)
}

// unblock ends the wait of c and returns the reply. Redis may see CLIENT UNBLOCK before
// the command that it has to end, so it is repeated. Without a reply in time the
// connection is closed, which ends the command on this side.
func (q *Queue) unblock(ctx context.Context, c *conn, replies <-chan popReply) popReply {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.pool.target.limits.Unblock)
	defer cancel()
	for {
		if _, err := q.pool.do(ctx, "CLIENT", "UNBLOCK", c.id, "TIMEOUT"); err != nil {
			break
		}
		select {
		case reply := <-replies:
			return reply
		case <-time.After(stopRetry):
		}
	}
	_ = c.Close() // its state is unknown
	return <-replies
}

// parsePopReply parses the reply to LMPOP and BLMPOP: a key and elements, or nil.
func (q *Queue) parsePopReply(reply any, err error) popReply {
	parts, err := redigo.Values(reply, err)
	switch {
	case errors.Is(err, redigo.ErrNil):
		return popReply{}
	case err != nil:
		return popReply{err: err}
	case len(parts) != 2:
		return popReply{err: fmt.Errorf("the reply to a pull has %d parts", len(parts))}
	}
	key, err := redigo.String(parts[0], nil)
	if err != nil {
		return popReply{err: err}
	}
	lane, err := parseLane(strings.TrimPrefix(key, q.pool.key("")))
	if err != nil {
		return popReply{err: err}
	}
	texts, err := redigo.Strings(parts[1], nil)
	return popReply{lane, texts, err}
}

// parseEntries parses entries, and drops those that are malformed.
func (q *Queue) parseEntries(ctx context.Context, l application.Lane, texts []string) []application.Entry {
	entries := make([]application.Entry, 0, len(texts))
	var bad []string
	for _, text := range texts {
		e, err := parseEntry(l, text)
		if err != nil {
			bad = append(bad, text)
			continue
		}
		entries = append(entries, e)
	}
	if len(bad) > 0 {
		q.logDropped(ctx, l, len(bad), bad[0])
	}
	return entries
}
