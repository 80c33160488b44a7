// Package room is what stores have in common that prove that there is room for tasks.
// Small writes find room in pages that are there, so they prove nothing.
package room

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/millrace/millrace/domain"
)

// messageBytes is the message of a task that is stored for a proof, and undone: so much
// that it needs new pages.
const messageBytes = 64 << 10

// ErrDiskFull is what /readyz shows.
var ErrDiskFull = domain.Errorf(domain.CodeUnavailable, "the database cannot store a task: its disk is full")

// Message is one that no compression makes shorter.
func Message() string {
	noise := make([]byte, messageBytes/4*3)
	_, _ = rand.Read(noise) // it never fails
	return base64.StdEncoding.EncodeToString(noise)
}

// Task is a task that needs room.
func Task() (*domain.Task, error) {
	return domain.NewTask(domain.TaskSpec{Message: Message(), MaxAttempts: new(1)}, time.Now())
}
