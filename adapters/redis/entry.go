package redis

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// lanePrefix begins the key of every lane.
const lanePrefix = "queue:"

// maxMicros is the end of the year 9999: no task was marked later.
const maxMicros = 253402300799999999

// encodeLane makes the key of a lane: queue:, the queue's name, a colon, and the priority.
func encodeLane(l application.Lane) string {
	return lanePrefix + string(l.Queue) + ":" + strconv.Itoa(l.Priority)
}

// parseLane parses what encodeLane has written, and nothing else.
func parseLane(text string) (application.Lane, error) {
	name, digit, _ := strings.Cut(strings.TrimPrefix(text, lanePrefix), ":") // no colon is part of a name
	queue, err := domain.ParseQueueName(name)
	if err != nil {
		return application.Lane{}, err
	}
	priority, err := strconv.Atoi(digit)
	if err != nil || priority < 0 || priority > domain.MaxPriority {
		return application.Lane{}, fmt.Errorf("%.40q is not a priority", digit)
	}
	l := application.Lane{Queue: queue, Priority: priority}
	if encodeLane(l) != text { // signs, leading zeros, another start
		return application.Lane{}, fmt.Errorf("%.120q is not the key of a lane", text)
	}
	return l, nil
}

// encodeEntry writes an entry without its lane: the task's id, a colon, and the time of
// its mark in microseconds since 1970.
func encodeEntry(e application.Entry) string {
	return e.ID.String() + ":" + strconv.FormatInt(e.QueuedAt.UnixMicro(), 10)
}

// parseEntry parses what encodeEntry has written, and nothing else, for an entry of the
// lane.
func parseEntry(l application.Lane, text string) (application.Entry, error) {
	id, micros, _ := strings.Cut(text, ":")
	task, err := domain.ParseTaskID(id)
	if err != nil {
		return application.Entry{}, err
	}
	at, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || at < 0 || at > maxMicros {
		return application.Entry{}, fmt.Errorf("%.40q is not a time in microseconds", micros)
	}
	e := application.Entry{Lane: l, ID: task, QueuedAt: time.UnixMicro(at).UTC()}
	if encodeEntry(e) != text { // capitals, signs, leading zeros
		return application.Entry{}, fmt.Errorf("%.80q is not an entry", text)
	}
	return e, nil
}
