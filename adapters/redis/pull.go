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
	stopGrace = time.Second // for the answer to a pull whose context has ended
	stopRetry = 5 * time.Millisecond
)

// Pull removes entries from the first lane that has any; it waits for at most 2 seconds.
// Redis checks its timeouts ten times a second, so a short wait may last that much
// longer. When ctx ends, Pull ends the wait on the server with CLIENT UNBLOCK, so that no
// entries are lost that Redis has popped already; if Redis does not answer, that takes up
// to a second.
func (q *Queue) Pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	reply := q.pop(ctx, p)
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

func (q *Queue) pop(ctx context.Context, p application.PullRequest) popReply {
	c, err := q.pool.acquireBlocking(ctx)
	if err != nil {
		return popReply{err: err}
	}
	defer q.pool.releaseBlocking(c)
	wait := max(0, min(p.Wait, maxWait))
	command, args := q.popCommand(p, wait)
	replies := make(chan popReply, 1)
	go func() { replies <- q.parsePopReply(c.doWithin(wait+q.pool.target.timeout, command, args...)) }()
	select {
	case reply := <-replies:
		return reply
	case <-ctx.Done():
		return q.unblock(ctx, c, replies)
	}
}

// popCommand lists the keys in the order in which they are pulled. BLMPOP would wait for
// ever with a timeout of 0.
func (q *Queue) popCommand(p application.PullRequest, wait time.Duration) (string, []any) {
	lanes := len(p.Queues) * (domain.MaxPriority + 1)
	args := make([]any, 0, lanes+5)
	command := "LMPOP"
	if wait > 0 {
		command = "BLMPOP"
		args = append(args, max(wait, leastWait).Seconds())
	}
	args = append(args, lanes)
	for _, name := range p.Queues {
		for priority := domain.MaxPriority; priority >= 0; priority-- {
			args = append(args, q.key(application.Lane{Queue: name, Priority: priority}))
		}
	}
	return command, append(args, "LEFT", "COUNT", p.Max)
}

// unblock ends the wait of c and returns the reply. Redis may see CLIENT UNBLOCK before
// the command that it has to end, so it is repeated. Without a reply in time the
// connection is closed, which ends the command on this side.
func (q *Queue) unblock(ctx context.Context, c *conn, replies <-chan popReply) popReply {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
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
	lane, err := parseLane(strings.TrimPrefix(key, q.pool.target.prefix))
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
