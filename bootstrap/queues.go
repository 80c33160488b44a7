package bootstrap

import (
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
)

const (
	queuesAllowed = "names of queues separated by commas, optionally with weights from 1 to 1000, such as default=3,mail"
	maxWeight     = 1000
	// handlersAllowed is followed by what is wrong. It names lines by number, because a
	// URL may hold a password.
	handlersAllowed = "queue=handler, one a line, for queues that QUEUES names: "
)

// queues are the queues that a worker pulls from.
func (c WorkConfig) queues() ([]worker.QueueWeight, error) {
	wrong := func(why string) error { return &SettingError{"QUEUES", c.Queues, queuesAllowed + ": " + why} }
	seen := map[domain.QueueName]bool{}
	var all []worker.QueueWeight
	for part := range strings.SplitSeq(c.Queues, ",") {
		text, weight, weighted := strings.Cut(strings.TrimSpace(part), "=")
		name, err := domain.ParseQueueName(text)
		if err != nil {
			return nil, wrong(strconv.Quote(text) + " is not a queue name")
		}
		q := worker.QueueWeight{Name: name, Weight: 1}
		if weighted {
			if q.Weight, err = strconv.Atoi(weight); err != nil || q.Weight < 1 || q.Weight > maxWeight {
				return nil, wrong("the weight of " + text + " is out of range")
			}
		}
		if seen[name] {
			return nil, wrong(text + " is named twice")
		}
		seen[name] = true
		all = append(all, q)
	}
	return all, nil
}

// queueHandler is a line of HANDLERS.
type queueHandler struct {
	queue   domain.QueueName
	handler string
}

// handlers are the queues with a handler of their own.
func (c WorkConfig) handlers() ([]queueHandler, error) {
	queues, err := c.queues()
	if err != nil {
		return nil, err
	}
	unset := map[domain.QueueName]bool{}
	for _, q := range queues {
		unset[q.Name] = true
	}
	var all []queueHandler
	n := 0
	for line := range strings.Lines(c.Handlers) {
		n++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, handler, ok := strings.Cut(line, "=")
		queue := domain.QueueName(strings.TrimSpace(name))
		if !ok || !unset[queue] {
			return nil, &SettingError{"HANDLERS", hidden, handlersAllowed + "line " + strconv.Itoa(n) +
				" is not a queue=handler pair, or names a queue that is not in QUEUES or has a handler already"}
		}
		delete(unset, queue)
		all = append(all, queueHandler{queue, strings.TrimSpace(handler)})
	}
	return all, nil
}

// unhandled is the first queue of QUEUES for which neither HANDLER nor HANDLERS names a
// handler.
func (c WorkConfig) unhandled() (queue domain.QueueName, missing bool, err error) {
	queues, err := c.queues()
	if err != nil || c.Handler != "" {
		return "", false, err
	}
	lines, err := c.handlers()
	if err != nil {
		return "", false, err
	}
	for _, q := range queues {
		if !slices.ContainsFunc(lines, func(h queueHandler) bool { return h.queue == q.Name }) {
			return q.Name, true, nil
		}
	}
	return "", false, nil
}
