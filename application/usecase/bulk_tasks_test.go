package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func bulkTasks(p *apptest.Ports) *usecase.BulkTasks {
	return usecase.NewBulkTasks(p.Search, p.Bulks, p.Clock, usecase.SubmitLimits{KeyLife: time.Hour})
}

func TestBulkTasks_StoresTheActionForAllThatThereAreAndNoneThatComes(t *testing.T) {
	p, before := apptest.NewPorts(t), apptest.NewTask(t).ID()
	filter := domain.TaskFilter{Queues: []domain.QueueName{"mail"}}
	for _, action := range []domain.BulkAction{domain.BulkCancel, domain.BulkStop, domain.BulkRetry} {
		var stored domain.Bulk
		p.Bulks.EXPECT().Add(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, b domain.Bulk) error {
			stored = b
			return nil
		})

		done, err := bulkTasks(p).Run(t.Context(), usecase.BulkTasksInput{Action: action, Filter: filter})

		apptest.Must(t, err)
		b := done.Bulk
		apptest.Equal(t, "the stored action", stored, b)
		apptest.Same(t, "action", b.Action, action)
		apptest.Equal(t, "filter", b.Filter, filter)
		apptest.Same(t, "nothing done yet", b.DoneAt.IsZero() && b.Changed == 0 && b.Skipped == 0, true)
		if after := apptest.NewTask(t).ID(); apptest.ByID(before, b.Cursor) >= 0 || apptest.ByID(b.Cursor, after) >= 0 {
			t.Errorf("the cursor %s is not between what was and what comes: %s, %s", b.Cursor, before, after)
		}
		apptest.Same(t, "id", b.ID.String(), b.Cursor.String())
	}
}

func TestBulkTasks_RefusesWhatIsNoActionAndABadFilter(t *testing.T) {
	for name, c := range map[string]struct {
		in     usecase.BulkTasksInput
		fields []string
	}{
		"NoAction":      {usecase.BulkTasksInput{All: true}, []string{"action"}},
		"AnotherAction": {usecase.BulkTasksInput{Action: "delete", All: true}, []string{"action"}},
		"EmptyFilter":   {usecase.BulkTasksInput{Action: domain.BulkCancel}, []string{"filter"}},
		"AllOfSome":     {usecase.BulkTasksInput{Action: domain.BulkCancel, All: true, Filter: domain.TaskFilter{Text: "a"}}, []string{"all"}},
		"BadText": {
			usecase.BulkTasksInput{Action: domain.BulkCancel, Filter: domain.TaskFilter{Text: "a\x00"}},
			[]string{"filter/text"},
		},
		"FoundBefore": {
			usecase.BulkTasksInput{Action: domain.BulkCancel, Invalid: []domain.FieldError{{Field: "filter/queue", Detail: "no"}}},
			[]string{"filter/queue"},
		},
		"All": {
			usecase.BulkTasksInput{Action: "x", Filter: domain.TaskFilter{Text: "\xff", Metadata: map[string]string{"a b": ""}}},
			[]string{"action", "filter/metadata/a b", "filter/text"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			uc := bulkTasks(apptest.NewPorts(t)) // no call of a port is expected
			_, err := uc.Run(t.Context(), c.in)
			_, _, countErr := uc.Count(t.Context(), c.in)
			for _, err := range []error{err, countErr} {
				wantInvalid(t, err, c.fields...)
			}
		})
	}
}

func TestBulkTasks_CountsInAWindowAndStoresNothing(t *testing.T) {
	p, filter := apptest.NewPorts(t), domain.TaskFilter{Text: "hello"}
	p.Search.EXPECT().Count(apptest.Any, application.TaskQuery{TaskFilter: filter, Limit: 1, Window: application.TextWindow}).Return(17, false, nil)

	n, all, err := bulkTasks(p).Count(t.Context(), usecase.BulkTasksInput{Action: domain.BulkRetry, Filter: filter})

	apptest.Must(t, err)
	apptest.Same(t, "count", n, 17)
	apptest.Same(t, "all", all, false)
}

func TestBulkTasks_SaysWhatTheStoreSays(t *testing.T) {
	p, in := apptest.NewPorts(t), usecase.BulkTasksInput{Action: domain.BulkCancel, All: true}
	p.Bulks.EXPECT().Add(apptest.Any, apptest.Any).Return(domain.ErrUnavailable)
	p.Search.EXPECT().Count(apptest.Any, apptest.Any).Return(0, false, domain.ErrUnavailable)
	p.Bulks.EXPECT().Get(apptest.Any, domain.BulkID{1}).Return(domain.Bulk{}, domain.ErrBulkNotFound)
	p.Bulks.EXPECT().Get(apptest.Any, domain.BulkID{2}).Return(domain.Bulk{Changed: 5}, nil)

	_, err := bulkTasks(p).Run(t.Context(), in)
	apptest.WantError(t, err, domain.ErrUnavailable)
	_, _, err = bulkTasks(p).Count(t.Context(), in)
	apptest.WantError(t, err, domain.ErrUnavailable)
	_, err = bulkTasks(p).Get(t.Context(), domain.BulkID{1})
	apptest.WantError(t, err, domain.ErrBulkNotFound)
	b, err := bulkTasks(p).Get(t.Context(), domain.BulkID{2})
	apptest.Must(t, err)
	apptest.Same(t, "changed", b.Changed, 5)
}

func TestBulkTasks_RepeatsAKeyWithTheActionOfTheFirst(t *testing.T) {
	p, first := apptest.NewPorts(t), domain.Bulk{Changed: 7}
	in := usecase.BulkTasksInput{Action: domain.BulkCancel, Filter: domain.TaskFilter{Text: "x"}, Owner: "ann", Key: "k"}
	var keys []application.IdempotencyKey
	p.Bulks.EXPECT().AddOnce(apptest.Any, apptest.Any, apptest.Any).Times(3).DoAndReturn(
		func(_ context.Context, k application.IdempotencyKey, _ domain.Bulk) (*domain.Bulk, error) {
			if keys = append(keys, k); len(keys) == 2 {
				return &first, nil
			}
			return nil, nil
		})

	fresh, err := bulkTasks(p).Run(t.Context(), in)
	apptest.Must(t, err)
	again, err := bulkTasks(p).Run(t.Context(), in)
	apptest.Must(t, err)
	in.Action = domain.BulkStop
	_, err = bulkTasks(p).Run(t.Context(), in)
	apptest.Must(t, err)

	apptest.Same(t, "the first is new", fresh.Replayed, false)
	apptest.Same(t, "the second is not", again.Replayed, true)
	apptest.Same(t, "the action of the first", again.Bulk.Changed, 7)
	apptest.Same(t, "owner and key", keys[0].Owner+keys[0].Key, "annk")
	apptest.Same(t, "life", keys[0].Expires.Sub(keys[0].Now), time.Hour)
	apptest.Same(t, "the same request", keys[0].Fingerprint == keys[1].Fingerprint, true)
	apptest.Same(t, "another request", keys[0].Fingerprint == keys[2].Fingerprint, false)
}
