package redis

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// maxMicros is the end of the year 9999: no task was marked later.
const maxMicros = 253402300799999999

// encodeEntry writes an entry as its id, a colon, and the time of its mark in
// microseconds since 1970.
func encodeEntry(e application.Entry) string {
	return e.ID.String() + ":" + strconv.FormatInt(e.QueuedAt.UnixMicro(), 10)
}

// parseEntry reads what encodeEntry has written, and nothing else.
func parseEntry(text string) (application.Entry, error) {
	id, micros, _ := strings.Cut(text, ":")
	task, err := domain.ParseTaskID(id)
	if err != nil {
		return application.Entry{}, err
	}
	at, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || at < 0 || at > maxMicros {
		return application.Entry{}, fmt.Errorf("%.40q is not a time in microseconds", micros)
	}
	e := application.Entry{ID: task, QueuedAt: time.UnixMicro(at).UTC()}
	if encodeEntry(e) != text { // capitals, signs, leading zeros
		return application.Entry{}, fmt.Errorf("%.80q is not how an entry is written", text)
	}
	return e, nil
}
