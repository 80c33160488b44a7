package domain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

func BenchmarkNewTask(b *testing.B) {
	message := strings.Repeat("0123456789", 10)
	for name, spec := range map[string]domain.TaskSpec{
		"Short": {Message: message, MaxAttempts: new(5)},
		"Full": {
			Message: message, MaxAttempts: new(5), Queue: new(domain.QueueName("mail")), Priority: 3, Delay: new(time.Minute), Timeout: new(time.Second),
			Metadata: map[string]string{"customer": "c-1042", "region": "eu"}, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := domain.NewTask(spec, start); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNewTaskID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		domain.NewTaskID(start)
	}
}

// BenchmarkLife has what a worker does with a task that succeeds: each step is of a
// fresh copy, which costs little beside it.
func BenchmarkLife(b *testing.B) {
	pending, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(5)}, start)
	if err != nil {
		b.Fatal(err)
	}
	claimed := pending.Clone()
	if err := claimed.Claim(claim, at(1)); err != nil {
		b.Fatal(err)
	}
	state := claimed.State()
	for name, step := range map[string]func() error{
		"Claim":    func() error { return pending.Clone().Claim(claim, at(1)) },
		"Complete": func() error { return claimed.Clone().Complete(1, "done", at(2)) },
		"Restore":  func() error { _, err := domain.Restore(state); return err },
		"State":    func() error { state = claimed.State(); return nil },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := step(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
