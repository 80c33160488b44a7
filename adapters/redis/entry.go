package redis

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// listStart begins the name of every list.
const listStart = "queue:"

// maxMicros is the end of the year 9999: no task was marked later.
const maxMicros = 253402300799999999

// encodeList names a list: queue:, the queue's name, a colon, and the priority.
func encodeList(l application.Lane) string {
	return listStart + string(l.Queue) + ":" + strconv.Itoa(l.Priority)
}

// parseList reads what encodeList has written, and nothing else.
func parseList(text string) (application.Lane, error) {
	name, digit, _ := strings.Cut(strings.TrimPrefix(text, listStart), ":") // no colon is part of a name
	queue, err := domain.ParseQueueName(name)
	if err != nil {
		return application.Lane{}, err
	}
	priority, err := strconv.Atoi(digit)
	if err != nil || priority < 0 || priority > domain.MaxPriority {
		return application.Lane{}, fmt.Errorf("%.40q is not a priority", digit)
	}
	l := application.Lane{Queue: queue, Priority: priority}
	if encodeList(l) != text { // signs, leading zeros, another start
		return application.Lane{}, fmt.Errorf("%.120q is not how a list is named", text)
	}
	return l, nil
}

// encodeEntry writes what an entry says beside its list: its id, a colon, and the
// time of its mark in microseconds since 1970.
func encodeEntry(e application.Entry) string {
	return e.ID.String() + ":" + strconv.FormatInt(e.QueuedAt.UnixMicro(), 10)
}

// parseEntry reads what encodeEntry has written, and nothing else, for an entry of
// the list.
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
		return application.Entry{}, fmt.Errorf("%.80q is not how an entry is written", text)
	}
	return e, nil
}
