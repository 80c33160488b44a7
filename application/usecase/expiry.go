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

	mu    sync.Mutex // held while the store is asked
	rules domain.RetentionRules
	asked time.Time // the store, last; zero: never
}

// NewExpiry makes one for tasks that are kept for so long by default.
func NewExpiry(queues application.QueueRepository, byDefault domain.Retention) *Expiry {
	return &Expiry{queues: queues, retention: byDefault}
}

// Rules are those by which the tasks expire, as they were within the last few seconds. If
// the store cannot say what is set of queues, there are none: a task is shown all the same,
// without the time at which it expires. Tasks that have not ended need no rule.
func (x *Expiry) Rules(ctx context.Context, tasks ...*domain.Task) domain.RetentionRules {
	if !slices.ContainsFunc(tasks, func(t *domain.Task) bool { return t.Status().Ended() }) {
		return domain.RetentionRules{}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.asked.IsZero() && time.Since(x.asked) < expiryAge {
		return x.rules
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), expiryTimeout)
	defer cancel()
	queues, err := x.queues.Retentions(ctx)
	x.rules, x.asked = domain.RetentionRules{}, time.Now()
	if err == nil {
		x.rules = domain.RetentionRules{Default: x.retention, Queues: queues}
	}
	return x.rules
}
