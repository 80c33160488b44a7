package contract

import (
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/domain"
)

var taskChecks = map[string]check{
	"AddStoresEveryFieldAsItIs":        addKeepsEveryField,
	"AddStoresAllOrNone":               addAllOrNone,
	"AddOfNothingIsNoError":            addNothing,
	"AddMarksTheTasksAsStored":         addMarksStored,
	"GetOfAnUnknownTaskIsNotFound":     getUnknown,
	"VersionsLeaveOutWhatIsUnknown":    versions,
	"GetManyLeavesOutWhatIsUnknown":    getMany,
	"SaveStoresEveryChange":            saveStores,
	"SaveKeepsTheResultAndItsWorker":   saveResult,
	"SaveOfAStaleVersionStoresNothing": saveStale,
	"SaveOfALostClaimStoresNothing":    saveLostClaim,
	"SaveOfAnUnknownTaskIsNotFound":    saveUnknown,
	"SaveHasOneWinner":                 saveRace,
	"ManyGoroutinesAddAndReadTheirOwn": addConcurrently,
}

func addKeepsEveryField(t *testing.T, s Store) {
	at := time.Date(2026, 2, 28, 23, 59, 59, 123457000, time.UTC) // odd in its last microsecond
	states := map[string]domain.TaskState{
		"as it is born": makeTask(t).State(),
		"every field of a held task": {
			Message: "m", Status: domain.StatusProcessing, CreatedAt: at, UpdatedAt: at.Add(time.Microsecond),
			Version: 1 << 40, RunAt: at.Add(2 * time.Microsecond), MaxAttempts: 5, Attempt: 9, Failures: 3, Rescues: 2,
			Worker: "worker 'one'", ClaimBeat: 1 << 41, Deadline: at.Add(3 * time.Microsecond), StartedAt: at.Add(-5 * time.Microsecond), LastError: "disk \U0001F4A5 full\n\tat line 1",
			StopRequestedAt: at.Add(4 * time.Microsecond),
		},
		"held, not asked to stop": {
			Message: "m", Status: domain.StatusProcessing, CreatedAt: at, UpdatedAt: at, Version: 2, RunAt: at,
			MaxAttempts: 1, Attempt: 1, Worker: "w", Deadline: at, StartedAt: at,
		},
		"completed": {
			Message: "m", Status: domain.StatusCompleted, CreatedAt: at, UpdatedAt: at, Version: 3, RunAt: at, MaxAttempts: 1, Attempt: 1,
			Worker: "worker \u00e9", StartedAt: at, Result: " \n{\"a\": '\U0001F4A5'}\t",
		},
		"completed, cut": {
			Message: "m", Status: domain.StatusCompleted, CreatedAt: at, UpdatedAt: at, Version: 3, RunAt: at, MaxAttempts: 1, Attempt: 1,
			Worker: "w", StartedAt: at, Result: strings.Repeat("\U0001F600", domain.MaxResult/4), ResultTruncated: true,
		},
		"completed, altered": {
			Message: "m", Status: domain.StatusCompleted, CreatedAt: at, UpdatedAt: at, Version: 3, RunAt: at, MaxAttempts: 1, Attempt: 1,
			Worker: "w", StartedAt: at, Result: "\uFFFD", ResultAltered: true,
		},
		"completed before it could stop": {
			Message: "m", Status: domain.StatusCompleted, CreatedAt: at, UpdatedAt: at, Version: 4, RunAt: at,
			MaxAttempts: 1, Attempt: 1, Worker: "w", StartedAt: at, StopRequestedAt: at.Add(-time.Microsecond),
		},
		"canceled": {
			Message: "m", Status: domain.StatusCanceled, CreatedAt: at, UpdatedAt: at, Version: 2, RunAt: at, MaxAttempts: 1,
		},
		"failed": {
			Message: "m", Status: domain.StatusFailed, CreatedAt: at, UpdatedAt: at, Version: 3, RunAt: at,
			MaxAttempts: 1, Attempt: 1, StartedAt: at, Failures: 1, LastError: strings.Repeat("é", 2048),
		},
		"pending, not marked": {
			Message: "m", Status: domain.StatusPending, CreatedAt: at, UpdatedAt: at, Version: 3, RunAt: at.Add(100 * 365 * 24 * time.Hour),
			MaxAttempts: 25, Attempt: 2, StartedAt: at, Rescues: 1, Failures: 1,
		},
		"the largest numbers": {
			Message: "m", Status: domain.StatusProcessing, CreatedAt: at, UpdatedAt: at, Version: math.MaxInt64, RunAt: at,
			MaxAttempts: math.MaxInt32, Attempt: math.MaxInt32, Worker: "w", ClaimBeat: math.MaxInt64, Deadline: at, StartedAt: at,
		},
		"all that a client says of it": {
			Message: "m", Status: domain.StatusPending, CreatedAt: at, UpdatedAt: at, Version: 1, RunAt: at, QueuedAt: at, MaxAttempts: 1000,
			Queue: domain.QueueName("0._-" + strings.Repeat("z", 60)), Priority: 9, Timeout: 7*24*time.Hour - time.Microsecond,
			Metadata: map[string]string{
				"A.b_c-9": "", strings.Repeat("k", 64): strings.Repeat("é", 256), "quotes": `it's "so"; \u0000 \ {"a": [null]} 💥`,
				"controls": "\x01\b\t\n\x7f\u2028", "space": " padded ",
			},
			TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			TraceState:  "rojo=00f067aa0ba902b7, " + strings.Repeat("z", domain.MaxTraceState-23),
		},
		"the shortest timeout": {
			Message: "m", Status: domain.StatusPending, CreatedAt: at, UpdatedAt: at, Version: 1, RunAt: at, MaxAttempts: 1, Timeout: time.Microsecond,
		},
		"before 1970": {
			Message: "m", Status: domain.StatusCanceled, CreatedAt: time.Unix(-1, 999999000).UTC(), UpdatedAt: time.Unix(-1, 999999000).UTC(),
			Version: 2, RunAt: time.Unix(0, 0).UTC(), MaxAttempts: 1,
		},
	}
	for name, message := range map[string]string{
		"unicode":             "日本語 \U0001F469\u200D\U0001F680 a\u0301 \u202Ertl\u202C \uFEFF \uFFFD \uFFFF \U0010FFFF",
		"controls":            "\x01\x02\b\t\n\v\f\r\x1b\x7f\u0085\u2028\u2029",
		"surrounding space":   " \t padded \r\n ",
		"quotes and escapes":  `it's "so"; \x00 \\ \' $1 ? :name %s {"a": null} --`,
		"a number":            "0123",
		"the longest message": strings.Repeat("0123456789abcde\n", 256<<10/16),
		"the longest unicode": strings.Repeat("\U0001F600", 256<<10/4),
	} {
		state := makeTask(t).State()
		state.Message = message
		states["message: "+name] = state
	}
	for name, want := range states {
		if want.ID == (domain.TaskID{}) {
			want.ID = domain.NewTaskID(want.CreatedAt)
		}
		if want.Queue == "" {
			want.Queue = domain.DefaultQueue
		}
		if err := s.Tasks.Add(t.Context(), restore(t, want)); err != nil {
			t.Errorf("add %q: %v", name, err)
			continue
		}
		t.Log(name)
		wantStored(t, s, want)
	}
	for name, id := range map[string]uuid.UUID{"lowest id": uuid.Nil, "highest id": uuid.Max, "random id": uuid.New()} {
		want := makeTask(t, func(s *domain.TaskState) { s.ID = domain.TaskID(id) }).State()
		t.Log(name)
		add(t, s, restore(t, want))
		wantStored(t, s, want)
	}
}

func addAllOrNone(t *testing.T, s Store) {
	first := addMade(t, s)
	twin := makeTask(t, func(s *domain.TaskState) { s.ID, s.Message = first.ID(), "another" })
	fresh := []*domain.Task{makeTask(t), makeTask(t), makeTask(t)}
	for name, batch := range map[string][]*domain.Task{
		"stored before":     {fresh[0], twin, fresh[1]},
		"stored, first":     {twin, fresh[0]},
		"stored, last":      {fresh[0], fresh[1], twin},
		"alone":             {twin},
		"twice in the same": {fresh[0], fresh[2], fresh[2].Clone()},
	} {
		if err := s.Tasks.Add(t.Context(), batch...); err == nil {
			t.Errorf("%s: a batch with an id that is taken was stored", name)
		}
		for _, task := range fresh {
			if _, err := s.Tasks.Get(t.Context(), task.ID()); !errors.Is(err, domain.ErrTaskNotFound) {
				t.Errorf("%s: get of a task of the refused batch: %v", name, err)
			}
		}
	}
	wantStored(t, s, first.State())
	for _, task := range fresh {
		if task.StoredVersion() != 0 {
			t.Errorf("task %s of a refused batch believes itself stored", task.ID())
		}
	}
	add(t, s, fresh...)
}

func addNothing(t *testing.T, s Store) { add(t, s) }

func addMarksStored(t *testing.T, s Store) {
	for _, task := range addMany(t, s, 3) {
		if task.StoredVersion() != 1 {
			t.Errorf("stored version %d after Add, want 1", task.StoredVersion())
		}
	}
}

func getUnknown(t *testing.T, s Store) {
	addMade(t, s)
	if task, err := s.Tasks.Get(t.Context(), makeTask(t).ID()); !errors.Is(err, domain.ErrTaskNotFound) {
		t.Errorf("get of an unknown task: %v, %v", task, err)
	}
}

func getMany(t *testing.T, s Store) {
	stored := addMany(t, s, 600)
	stored[0], stored[1] = addMade(t, s, completedBy("w")), addMade(t, s, heldBy("w", 1))
	want := sortedByID(stored)
	ids := append(idsOf(want), makeTask(t).ID()) // unknown
	ids = append(ids, ids...)
	got, rest, err := s.Tasks.GetMany(t.Context(), ids...)
	if err != nil || len(rest) > 0 {
		t.Fatalf("get many: %d left, %v", len(rest), err)
	}
	got = sortedByID(got)
	wantIDs(t, got, want)
	for i := range min(len(got), len(want)) {
		wantState(t, got[i], want[i].State())
	}
	for name, ids := range map[string][]domain.TaskID{"none": nil, "unknown": {makeTask(t).ID()}} {
		if got, rest, err := s.Tasks.GetMany(t.Context(), ids...); err != nil || len(got)+len(rest) > 0 {
			t.Errorf("get many, %s: %d tasks, %d left, %v", name, len(got), len(rest), err)
		}
	}
}

func versions(t *testing.T, s Store) {
	stored := addMany(t, s, 3)
	stored[0] = addMade(t, s, heldBy("w", 1))
	ids := idsOf(stored)
	got, err := s.Tasks.Versions(t.Context(), append(append(ids, ids...), makeTask(t).ID())...)
	if err != nil || len(got) != len(stored) {
		t.Fatalf("versions of %d tasks: %d, %v", len(stored), len(got), err)
	}
	for _, task := range stored {
		if got[task.ID()] != task.Version() {
			t.Errorf("task %s is at version %d, want %d", task.ID(), got[task.ID()], task.Version())
		}
	}
	if got, err := s.Tasks.Versions(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("versions of no task: %d, %v", len(got), err)
	}
}

func addConcurrently(t *testing.T, s Store) {
	const callers, each = 16, 10
	var added atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				task := makeTask(t)
				if err := s.Tasks.Add(t.Context(), task); err != nil {
					t.Errorf("add: %v", err)
					return
				}
				// What Add has answered is there for everybody.
				if _, err := s.Tasks.Get(t.Context(), task.ID()); err != nil {
					t.Errorf("get of what was just added: %v", err)
				}
				added.Add(1)
			}
		})
	}
	all.Wait()
	if added.Load() != callers*each {
		t.Errorf("%d tasks were added, want %d", added.Load(), callers*each)
	}
}

// newestFirst orders tasks as lists are.
func newestFirst(tasks []*domain.Task) []*domain.Task {
	sorted := sortedByID(tasks)
	slices.Reverse(sorted)
	return sorted
}
