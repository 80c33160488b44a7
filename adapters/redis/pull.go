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
	maxWait   = 2 * time.Second // then a pull returns none: one command in 2 seconds from an idle worker
	leastWait = time.Millisecond
	stopGrace = time.Second // for the answer to a pull whose context has ended
	stopRetry = 5 * time.Millisecond
)

// Pull takes entries from the first list that has any; it waits for 2 seconds at
// the most. Redis looks at the time ten times a second, so a short wait may last
// that much longer. When ctx ends, Pull has Redis end the wait, so that what Redis
// has taken off a list for it is not lost on the way; that may take a second if
// Redis does not answer.
func (q *Queue) Pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a := q.pop(ctx, p)
	if len(a.texts) > 0 {
		return q.read(ctx, a.list, a.texts), nil
	}
	if ended := endOf(ctx); ended != nil {
		return nil, ended
	}
	if a.err != nil {
		return nil, fmt.Errorf("pull: %w", translate(a.err))
	}
	return nil, nil
}

// answer is what became of a command that pops: nothing, or entries of one list.
type answer struct {
	list  application.Lane
	texts []string
	err   error
}

func (q *Queue) pop(ctx context.Context, p application.PullRequest) answer {
	c, err := q.pool.takeWaiting(ctx)
	if err != nil {
		return answer{err: err}
	}
	defer q.pool.giveWaiting(c)
	wait := max(0, min(p.Wait, maxWait))
	command, args := q.popCommand(p, wait)
	answers := make(chan answer, 1)
	go func() { answers <- q.parsePopped(c.doWithin(wait+q.pool.target.timeout, command, args...)) }()
	select {
	case a := <-answers:
		return a
	case <-ctx.Done():
		return q.stop(ctx, c, answers)
	}
}

// popCommand names the lists in the order in which they are pulled. To BLMPOP a
// time of 0 is for ever.
func (q *Queue) popCommand(p application.PullRequest, wait time.Duration) (string, []any) {
	lists := len(p.Queues) * (domain.MaxPriority + 1)
	args := make([]any, 0, lists+5)
	command := "LMPOP"
	if wait > 0 {
		command = "BLMPOP"
		args = append(args, max(wait, leastWait).Seconds())
	}
	args = append(args, lists)
	for _, name := range p.Queues {
		for priority := domain.MaxPriority; priority >= 0; priority-- {
			args = append(args, q.key(application.Lane{Queue: name, Priority: priority}))
		}
	}
	return command, append(args, "LEFT", "COUNT", p.Max)
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

// parsePopped reads the answer to LMPOP and BLMPOP: a key and elements, or nil.
func (q *Queue) parsePopped(reply any, err error) answer {
	parts, err := redigo.Values(reply, err)
	switch {
	case errors.Is(err, redigo.ErrNil):
		return answer{}
	case err != nil:
		return answer{err: err}
	case len(parts) != 2:
		return answer{err: fmt.Errorf("a pull is answered with %d parts", len(parts))}
	}
	key, err := redigo.String(parts[0], nil)
	if err != nil {
		return answer{err: err}
	}
	list, err := parseList(strings.TrimPrefix(key, q.pool.target.prefix))
	if err != nil {
		return answer{err: err}
	}
	texts, err := redigo.Strings(parts[1], nil)
	return answer{list, texts, err}
}

// read reads entries, and drops those that cannot be read.
func (q *Queue) read(ctx context.Context, l application.Lane, texts []string) []application.Entry {
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
		q.report(ctx, l, len(bad), bad[0])
	}
	return entries
}
