package contract

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var purgeChecks = map[string]check{
	"PurgeDeletesWhatItIsToldAndNothingElse":   purgeDeletes,
	"PurgeDeletesWhatGoesWithATask":            purgeDeletesAll,
	"PurgeLeavesWhatIsNotAsItWas":              purgeLeaves,
	"PurgeMovesTheCursorIfNobodyElseHas":       purgeCursor,
	"PurgeNamesWhatTheStoreRefusesToDelete":    purgeRefused,
	"PurgeCandidatesComeInTheOrderOfIDs":       candidatesInOrder,
	"PurgeCandidatesSayWhatDecides":            candidatesSay,
	"PurgeCandidatesOfTheOwnAreNoOthers":       candidatesOwn,
	"PurgeCandidatesThatCannotBeReadDoNotEnd":  candidatesDamaged,
	"TasksKeepHowLongTheyAreKept":              retentionStored,
	"RetentionsSayWhatIsSetOfQueues":           retentionsOfQueues,
	"AddOnceAnswersWithHowLongATaskIsKept":     retentionReplayed,
	"PurgesOfTheSameTasksDeleteEachOfThemOnce": purgeRace,
}

// lastID is above every id that is made.
var lastID = domain.TaskID{0xff}

// candidates are the tasks of a walk.
func candidates(t *testing.T, s Store, walk application.PurgeWalk, w application.PurgeWindow) []domain.PurgeCandidate {
	t.Helper()
	got, err := s.Purges.PurgeCandidates(t.Context(), walk, w)
	if err != nil {
		t.Fatalf("candidates of walk %s: %v", walk, err)
	}
	return got
}

func wantCandidates(t *testing.T, got []domain.PurgeCandidate, tasks ...*domain.Task) {
	t.Helper()
	want := make([]domain.PurgeCandidate, len(tasks))
	for i, task := range tasks {
		want[i] = task.PurgeCandidate()
	}
	if diff := cmp.Diff(want, got); len(want)+len(got) > 0 && diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
}

// expiredStep is a step from the beginning that is to delete the tasks.
func expiredStep(tasks ...*domain.Task) application.PurgeStep {
	s := application.PurgeStep{Walk: application.PurgeAll}
	for _, task := range tasks {
		s.Expired = append(s.Expired, task.PurgeCandidate())
	}
	return s
}

// purge takes a step that is to delete exactly these tasks.
func purge(t *testing.T, s Store, step application.PurgeStep, want ...*domain.Task) {
	t.Helper()
	got, err := s.Purges.Purge(t.Context(), step)
	if err != nil || !got.Moved || len(got.Refused) > 0 {
		t.Fatalf("purge of %d tasks: %+v, %v", len(step.Expired), got, err)
	}
	wantPurged(t, s, got, want...)
}

func wantPurged(t *testing.T, s Store, got application.PurgeResult, want ...*domain.Task) {
	t.Helper()
	compare := func(a, b domain.TaskID) int { return slices.Compare(a[:], b[:]) }
	if !slices.Equal(slices.SortedFunc(slices.Values(got.Purged), compare), idsOf(sortedByID(want))) {
		t.Errorf("purged %v, want %v", got.Purged, idsOf(want))
	}
	left, _, err := s.Tasks.GetMany(t.Context(), idsOf(want)...)
	if err != nil || len(left) > 0 {
		t.Errorf("%d of %d purged tasks are left, %v", len(left), len(want), err)
	}
}

func purgeDeletes(t *testing.T, s Store) {
	var expired, kept []*domain.Task
	for _, status := range domain.EndedStatuses() {
		expired, kept = append(expired, addMany(t, s, 3, ended(status))...), append(kept, addMade(t, s, ended(status)))
	}
	purge(t, s, expiredStep(expired...), expired...)
	purge(t, s, expiredStep(expired...)) // they are gone
	purge(t, s, expiredStep())
	for _, task := range kept {
		wantStored(t, s, task.State())
	}
}

func purgeDeletesAll(t *testing.T, s Store) {
	pairs := func(s *domain.TaskState) { s.Metadata = map[string]string{"customer": "c-1", "region": "eu"} }
	tasks := addMany(t, s, 3, pairs, heldBy("worker", 1))
	for _, task := range tasks {
		if err := task.Fail(1, domain.Failure{Reason: "no", Permanent: true}, domain.RetryPolicy{}, 0, now()); err != nil {
			t.Fatal(err)
		}
		if err := s.Tasks.Save(t.Context(), task); err != nil {
			t.Fatal(err)
		}
	}
	purge(t, s, expiredStep(tasks[:2]...), tasks[:2]...)
	for table, want := range map[string]int{"tasks": 1, "attempts": 1, "task_metadata": 2} {
		if got := s.Count(t, table); got != want {
			t.Errorf("%d rows of %s are left, want %d", got, table, want)
		}
	}
	wantStored(t, s, tasks[2].State())
}

func purgeLeaves(t *testing.T, s Store) {
	failed := addMade(t, s, ended(domain.StatusFailed))
	step := expiredStep(failed, addMade(t, s), addMade(t, s, heldBy("worker", 1)), makeTask(t, ended(domain.StatusCompleted)))
	if err := failed.Reopen(now()); err != nil {
		t.Fatal(err)
	}
	if err := s.Tasks.Save(t.Context(), failed); err != nil {
		t.Fatal(err)
	}
	again := addMade(t, s, ended(domain.StatusCanceled))
	step.Expired = append(step.Expired, again.PurgeCandidate())
	step.Expired[len(step.Expired)-1].Version++
	other := addMade(t, s, ended(domain.StatusCanceled)) // a version may be another change's after a failover
	step.Expired = append(step.Expired, other.PurgeCandidate())
	step.Expired[len(step.Expired)-1].Status = domain.StatusCompleted
	purge(t, s, step)
	for _, task := range []*domain.Task{failed, again, other} {
		wantStored(t, s, task.State())
	}
}

func wantCursor(t *testing.T, s Store, walk application.PurgeWalk, want domain.TaskID) {
	t.Helper()
	if got, err := s.Purges.PurgeCursor(t.Context(), walk); err != nil || got != want {
		t.Errorf("the cursor of walk %s is %s, %v; want %s", walk, got, err, want)
	}
}

func purgeCursor(t *testing.T, s Store) {
	wantCursor(t, s, application.PurgeAll, domain.TaskID{})
	task := addMade(t, s, ended(domain.StatusCompleted))
	one, two := domain.TaskID{1}, domain.TaskID{2}
	purge(t, s, application.PurgeStep{Walk: application.PurgeAll, To: one})
	purge(t, s, application.PurgeStep{Walk: application.PurgeAll, From: one, To: two})
	wantCursor(t, s, application.PurgeAll, two)
	wantCursor(t, s, application.PurgeOwn, domain.TaskID{})

	late := expiredStep(task)
	late.From, late.To = one, lastID
	got, err := s.Purges.Purge(t.Context(), late)
	if err != nil || got.Moved || len(got.Purged) > 0 {
		t.Errorf("a step from where the walk has been: %+v, %v; want nothing done", got, err)
	}
	wantStored(t, s, task.State())
	wantCursor(t, s, application.PurgeAll, two)

	late.From, late.To = two, domain.TaskID{}
	purge(t, s, late, task)
	wantCursor(t, s, application.PurgeAll, domain.TaskID{})
	purge(t, s, application.PurgeStep{Walk: application.PurgeAll}) // to where it is
}

func purgeRefused(t *testing.T, s Store) {
	tasks := addMany(t, s, 7, ended(domain.StatusCompleted))
	s.Refer(t, tasks[2].ID())
	s.Refer(t, tasks[5].ID())
	step := expiredStep(tasks...)
	step.To = tasks[6].ID()
	got, err := s.Purges.Purge(t.Context(), step)
	if err != nil || !got.Moved || len(got.Refused) != 2 || got.Refused[tasks[2].ID()] == nil || got.Refused[tasks[5].ID()] == nil {
		t.Fatalf("purge: %+v, %v; want two refused", got, err)
	}
	wantPurged(t, s, got, tasks[0], tasks[1], tasks[3], tasks[4], tasks[6])
	wantStored(t, s, tasks[2].State())
	wantCursor(t, s, application.PurgeAll, tasks[6].ID())
}

func candidatesInOrder(t *testing.T, s Store) {
	tasks := sortedByID(addMany(t, s, 9, ended(domain.StatusCompleted)))
	all := application.PurgeWindow{Before: lastID, Limit: 100}
	wantCandidates(t, candidates(t, s, application.PurgeAll, all), tasks...)
	wantCandidates(t, candidates(t, s, application.PurgeAll, application.PurgeWindow{Before: lastID, Limit: 4}), tasks[:4]...)
	wantCandidates(t, candidates(t, s, application.PurgeAll, application.PurgeWindow{After: tasks[3].ID(), Before: lastID, Limit: 3}), tasks[4:7]...)
	wantCandidates(t, candidates(t, s, application.PurgeAll, application.PurgeWindow{After: tasks[3].ID(), Before: tasks[6].ID(), Limit: 3}), tasks[4:6]...)
	wantCandidates(t, candidates(t, s, application.PurgeAll, application.PurgeWindow{After: lastID, Before: lastID, Limit: 3}))
}

func candidatesSay(t *testing.T, s Store) {
	tasks := []*domain.Task{
		addMade(t, s), addMade(t, s, heldBy("worker", 1)), addMade(t, s, ended(domain.StatusCompleted)), addMade(t, s, ended(domain.StatusCanceled)),
		addMade(t, s, ended(domain.StatusFailed), inQueue("mail"), func(s *domain.TaskState) {
			s.Version, s.UpdatedAt, s.Retention, s.KeyedUntil = 7, s.UpdatedAt.Add(time.Hour), time.Minute, now().Add(time.Hour)
		}),
	}
	wantCandidates(t, candidates(t, s, application.PurgeAll, application.PurgeWindow{Before: lastID, Limit: 100}), sortedByID(tasks)...)
}

// keptFor makes it a task that says itself how long it is kept.
func keptFor(d time.Duration) func(*domain.TaskState) {
	return func(s *domain.TaskState) { s.Retention = d }
}

func candidatesOwn(t *testing.T, s Store) {
	addMany(t, s, 3, ended(domain.StatusCompleted))
	own := []*domain.Task{addMade(t, s, ended(domain.StatusCompleted), keptFor(time.Second)), addMade(t, s, keptFor(time.Hour))}
	addMany(t, s, 3, ended(domain.StatusFailed))
	got := candidates(t, s, application.PurgeOwn, application.PurgeWindow{Before: lastID, Limit: 2})
	wantCandidates(t, got, sortedByID(own)...)
}

func candidatesDamaged(t *testing.T, s Store) {
	tasks := sortedByID(addMany(t, s, 2, ended(domain.StatusCompleted)))
	damage(t, s, tasks[0], "updated_at", true)
	rules := domain.RetentionRules{Default: domain.Retention{Completed: domain.Keep(domain.MinKeep)}}
	got := candidates(t, s, application.PurgeAll, application.PurgeWindow{Before: lastID, Limit: 100})
	if len(got) != 2 {
		t.Fatalf("%d candidates, want 2", len(got))
	}
	for i, c := range got {
		if _, expires := rules.ExpiresAt(c); expires != (i == 1) {
			t.Errorf("candidate %d expires: %v", i, expires)
		}
	}
}

func retentionStored(t *testing.T, s Store) {
	until := now().Add(time.Hour)
	tasks := []*domain.Task{
		makeTask(t), makeTask(t, keptFor(time.Hour)), makeTask(t, keptFor(domain.MaxKeep)),
		makeTask(t, keptFor(time.Microsecond), func(s *domain.TaskState) { s.KeyedUntil = until }),
		makeTask(t, func(s *domain.TaskState) { s.KeyedUntil = until }),
	}
	add(t, s, tasks...)
	worker := enlist(t, s)
	for _, task := range tasks {
		wantStored(t, s, task.State())
		for _, got := range claim(t, s, claimOf(worker, task)) {
			if err := got.Complete(1, "done", now()); err != nil {
				t.Fatal(err)
			}
			if err := s.Tasks.Save(t.Context(), got); err != nil {
				t.Fatal(err)
			}
		}
		got, want := get(t, s, task.ID()).State(), task.State()
		if got.Status != domain.StatusCompleted || got.Retention != want.Retention || !got.KeyedUntil.Equal(want.KeyedUntil) {
			t.Errorf("once completed: %s, kept for %s, its key until %s; want %s and %s",
				got.Status, got.Retention, got.KeyedUntil, want.Retention, want.KeyedUntil)
		}
	}
}

func retentionReplayed(t *testing.T, s Store) {
	k := keyOf("retention", "a")
	task := makeTask(t, keptFor(time.Hour), func(s *domain.TaskState) { s.KeyedUntil = k.Expires })
	if first, _, err := s.Tasks.AddOnce(t.Context(), k, task); err != nil || first != nil {
		t.Fatalf("add once: %v, %v", first, err)
	}
	first, _, err := s.Tasks.AddOnce(t.Context(), k, makeTask(t))
	if err != nil || len(first) != 1 {
		t.Fatalf("add once again: %v, %v", first, err)
	}
	wantState(t, first[0], task.State())
}

func retentionOf(r domain.Retention) domain.QueueChange {
	return domain.QueueChange{Retention: map[domain.Status]domain.Keep{
		domain.StatusCompleted: r.Completed, domain.StatusCanceled: r.Canceled, domain.StatusFailed: r.Failed,
	}}
}

func retentionsOfQueues(t *testing.T, s Store) {
	week := domain.Keep(7 * 24 * time.Hour)
	set := map[domain.QueueName]domain.Retention{
		"all":     {Completed: week, Canceled: domain.Keep(domain.MinKeep), Failed: domain.Keep(domain.MaxKeep)},
		"some":    {Failed: week},
		"forever": {Completed: domain.KeepForever},
	}
	setQueue(t, s, "paused", domain.QueueChange{Paused: new(true)})
	for name, r := range set {
		setQueue(t, s, name, retentionOf(r))
	}
	setQueue(t, s, "unset", retentionOf(set["all"]))
	setQueue(t, s, "unset", retentionOf(domain.Retention{}))
	got, err := s.Queues.Retentions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set, got); diff != "" {
		t.Errorf("retentions (-want +got):\n%s", diff)
	}
	if got := info(t, s, "all").Retention; got != set["all"] {
		t.Errorf("the queue says %+v", got)
	}
}

func purgeRace(t *testing.T, s Store) {
	tasks := addMany(t, s, 40, ended(domain.StatusCompleted))
	results := make(chan application.PurgeResult, 4)
	for range cap(results) {
		go func() {
			got, err := s.Purges.Purge(t.Context(), expiredStep(tasks...))
			if err != nil {
				t.Errorf("purge: %v", err)
			}
			results <- got
		}()
	}
	var all application.PurgeResult
	for range cap(results) {
		all.Purged = append(all.Purged, (<-results).Purged...)
	}
	wantPurged(t, s, all, tasks...)
}

// lockedPurge locks each of the rows that a purge deletes of a task.
func lockedPurge(t *testing.T, s Store, l Locks) {
	for row, lock := range l.rowLocks() {
		var tasks []*domain.Task
		for range 10 {
			tasks = append(tasks, addFailed(t, s, described("k", "v")))
		}
		release := lock(t, tasks[3].ID())
		step := expiredStep(tasks...)
		soon(t, "purge with a locked "+row, func() { purge(t, s, step, slices.Concat(tasks[:3], tasks[4:])...) })
		wantKept(t, s, tasks[3])
		soon(t, "candidates", func() {
			wantCandidates(t, candidates(t, s, application.PurgeAll, application.PurgeWindow{Before: lastID, Limit: 100}), tasks[3])
		})
		release()
		purge(t, s, step, tasks[3])
	}
}
