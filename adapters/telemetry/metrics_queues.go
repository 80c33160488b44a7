package telemetry

import (
	"sync"

	"github.com/millrace/millrace/domain"
)

const (
	// maxQueueLabels bounds the queues that have labels of their own: names come from
	// clients, and every label is kept for as long as the program runs, and by Prometheus
	// for longer.
	maxQueueLabels = 200
	// otherQueues is the label of all the others. A queue of that name is one of them.
	otherQueues = "other"
)

// queueLabels gives labels to the queues that come first. It is safe for concurrent use.
type queueLabels struct {
	mu   sync.RWMutex
	seen map[domain.QueueName]bool
}

// of is the label of the queue.
func (l *queueLabels) of(queue domain.QueueName) string {
	l.mu.RLock()
	seen, full := l.seen[queue], len(l.seen) >= maxQueueLabels
	l.mu.RUnlock()
	switch {
	case seen:
		return string(queue)
	case full:
		return otherQueues
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) >= maxQueueLabels && !l.seen[queue] {
		return otherQueues
	}
	if l.seen == nil {
		l.seen = map[domain.QueueName]bool{}
	}
	l.seen[queue] = true
	return string(queue)
}
