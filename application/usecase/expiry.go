package usecase

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

const (
	// expiryAge is for how long what is set of queues is taken for what it was: many look at
	// tasks, and hardly ever somebody changes it.
	expiryAge = 5 * time.Second
	// expiryTimeout is how long somebody who looks at a task waits for it.
	expiryTimeout = 500 * time.Millisecond
)

// Expiry says when tasks expire, to whoever looks at them. It is safe for concurrent use.
type Expiry struct {
	queues    application.QueueRepository
	retention domain.Retention // the default

	mu     sync.Mutex // never held while the store is asked
	rules  domain.RetentionRules
	asked  time.Time     // the store, last; zero: never
	asking chan struct{} // closed when the store that is being asked has answered, or not; nil: it is not
}

// NewExpiry makes one for tasks that are kept for so long by default.
func NewExpiry(queues application.QueueRepository, byDefault domain.Retention) *Expiry {
	return &Expiry{queues: queues, retention: byDefault}
}

// Rules are those by which the tasks expire, as they were within the last few seconds. One
// of many callers asks the store, and the others take the last rules until it has answered,
// as all do if it cannot. If it never could, there are no rules: a task is shown all the
// same, without the time at which it expires. Tasks that have not ended need no rule.
func (x *Expiry) Rules(ctx context.Context, tasks ...*domain.Task) domain.RetentionRules {
	if !slices.ContainsFunc(tasks, func(t *domain.Task) bool { return t.Status().Ended() }) {
		return domain.RetentionRules{}
	}
	switch asking, mine := x.begin(); {
	case mine:
		x.ask(ctx, asking)
	case asking != nil:
		select {
		case <-asking:
		case <-ctx.Done():
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rules
}

// begin returns what to wait for, if there is something: the store's first answer. mine: it
// is time to ask the store, and the caller is to do it.
func (x *Expiry) begin() (asking chan struct{}, mine bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.asking == nil && (x.asked.IsZero() || time.Since(x.asked) >= expiryAge):
		x.asking = make(chan struct{})
		return x.asking, true
	case x.asked.IsZero():
		return x.asking, false
	}
	return nil, false
}

// ask asks the store. It does so for all, and therefore also if the caller hangs up.
func (x *Expiry) ask(ctx context.Context, asking chan struct{}) {
	defer close(asking)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), expiryTimeout)
	defer cancel()
	queues, err := x.queues.Retentions(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asking, x.asked = nil, time.Now()
	if err == nil {
		x.rules = domain.RetentionRules{Default: x.retention, Queues: queues}
	}
}
