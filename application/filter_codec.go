package application

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/domain"
)

// storedFilter is the form in which stores keep a filter: a JSON object.
type storedFilter struct {
	Statuses       []domain.Status    `json:"statuses,omitempty"`
	Queues         []domain.QueueName `json:"queues,omitempty"`
	CreatedFrom    time.Time          `json:"created_from,omitzero"`
	CreatedBefore  time.Time          `json:"created_before,omitzero"`
	FinishedFrom   time.Time          `json:"finished_from,omitzero"`
	FinishedBefore time.Time          `json:"finished_before,omitzero"`
	Metadata       map[string]string  `json:"metadata,omitempty"`
	Text           string             `json:"text,omitempty"`
}

// EncodeFilter is the filter as a store keeps it. One that is out of bounds is
// domain.CodeInvalid: JSON cannot say every text, so it could come back as another.
func EncodeFilter(f domain.TaskFilter) (string, error) {
	if err := f.Check(); err != nil {
		return "", err
	}
	text, err := json.Marshal(storedFilter(f))
	return string(text), err
}

// DecodeFilter reads what EncodeFilter has written. It refuses a part that it does
// not understand: without it, the filter would mean other tasks.
func DecodeFilter(text []byte) (domain.TaskFilter, error) {
	if text = bytes.TrimSpace(text); !bytes.HasPrefix(text, []byte("{")) { // null would mean all tasks
		return domain.TaskFilter{}, errors.New("decode filter: it is no object")
	}
	var f storedFilter
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return domain.TaskFilter{}, fmt.Errorf("decode filter: %w", err)
	}
	return domain.TaskFilter(f), nil
}
