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
	var f storedFilter
	err := decodeStored(text, &f)
	return domain.TaskFilter(f), err
}

// storedBulkFilter says of the filter of an action that deletes that it is one. A program
// that does not know the action does not understand that part, and leaves the action to
// others: it would count every task as skipped.
type storedBulkFilter struct {
	storedFilter
	Deletes bool `json:"deletes,omitempty"`
}

// EncodeBulkFilter is EncodeFilter for the filter of an action.
func EncodeBulkFilter(b domain.Bulk) (string, error) {
	if err := b.Filter.Check(); err != nil {
		return "", err
	}
	text, err := json.Marshal(storedBulkFilter{storedFilter(b.Filter), b.Action == domain.BulkDelete})
	return string(text), err
}

// DecodeBulkFilter reads what EncodeBulkFilter has written for such an action, and for no
// other: one is not made another by a change of the row.
func DecodeBulkFilter(action domain.BulkAction, text []byte) (domain.TaskFilter, error) {
	var f storedBulkFilter
	if err := decodeStored(text, &f); err != nil {
		return domain.TaskFilter{}, err
	}
	if f.Deletes != (action == domain.BulkDelete) {
		return domain.TaskFilter{}, errors.New("decode filter: it is that of another action")
	}
	return domain.TaskFilter(f.storedFilter), nil
}

func decodeStored(text []byte, filter any) error {
	if text = bytes.TrimSpace(text); !bytes.HasPrefix(text, []byte("{")) { // null would mean all tasks
		return errors.New("decode filter: it is no object")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(filter); err != nil {
		return fmt.Errorf("decode filter: %w", err)
	}
	return nil
}
