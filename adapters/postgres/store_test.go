package postgres

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

// What the driver adds to a request after a long argument makes it as long again.
func TestInsert_SendsTheMessagesLast(t *testing.T) {
	tasks := tasksWith(t, 3, map[string]string{"a": "b"})
	_, args := insertOf(tasks)
	_, onceArgs := insertOnceOf(time.Now(), []keyed{{IdempotencyKey: keyOf("k", time.Now()), tasks: tasks}})
	for name, args := range map[string][]any{"add": args, "add once": onceArgs} {
		last, _ := args[len(args)-1].([]byte)
		for _, task := range tasks {
			if !bytes.Contains(last, []byte(task.Message())) {
				t.Errorf("%s: the last argument has no message: %q", name, last)
			}
		}
	}
}

// What is the same in all tasks is sent once, which must make no difference.
func TestAdd_StoresEveryColumnOfEveryTask(t *testing.T) {
	repository := NewTaskRepository(migrated(t, Config{}))
	specs := []domain.TaskSpec{
		{Message: "m", MaxAttempts: new(1)},
		{Message: "m", MaxAttempts: new(1)},
		{Message: "n", MaxAttempts: new(2), Queue: new(domain.QueueName("q")), Priority: 3, Timeout: new(time.Second), Delay: new(time.Hour), Metadata: map[string]string{"k": "v"},
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{Message: "n", MaxAttempts: new(2), Queue: new(domain.QueueName("q")), Priority: 3, Timeout: new(time.Second), Delay: new(time.Hour), Metadata: map[string]string{"k": "w"}},
	}
	for _, text := range []string{
		" ", "NULL", "null", `"`, `\`, `\\"`, "{}", "{a,b}", ",", "'", "''; DROP TABLE tasks; --", "a\nb\r\tc", "é", "😀", "\x7f", "$1",
		strings.Repeat(`"\{},`, 1000),
	} {
		specs = append(specs, domain.TaskSpec{Message: text, MaxAttempts: new(1)})
	}
	for n := range specs {
		var tasks []*domain.Task
		for _, spec := range slices.Concat(specs[n:], specs[:n])[:1+n%len(specs)] { // one, two, … of them, of each kind
			task, err := domain.NewTask(spec, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			tasks = append(tasks, task)
		}
		if err := repository.Add(t.Context(), tasks...); err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			got, err := repository.Get(t.Context(), task.ID())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(task.State(), got.State()); diff != "" {
				t.Errorf("task of %d (-sent +stored):\n%s", len(tasks), diff)
			}
		}
	}
}
