package usecase_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestExpiry_AsksTheStoreOnceInAWhileAndForEndedTasksOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		byDefault := domain.Retention{Failed: domain.Keep(time.Hour)}
		queues := map[domain.QueueName]domain.Retention{"mail": {Failed: domain.KeepForever}}
		x := usecase.NewExpiry(p.Queues, byDefault)
		apptest.Equal(t, "rules of tasks that have not ended", x.Rules(t.Context(), apptest.NewTask(t), apptest.Claimed(t)), domain.RetentionRules{})

		p.Queues.EXPECT().Retentions(apptest.Any).Return(queues, nil).Times(2)
		want := domain.RetentionRules{Default: byDefault, Queues: queues}
		for range 10 {
			apptest.Equal(t, "rules", x.Rules(t.Context(), apptest.NewTask(t), apptest.Failed(t)), want)
			time.Sleep(900 * time.Millisecond)
		}
	})
}

func TestExpiry_SaysNothingIfTheStoreCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		x := usecase.NewExpiry(p.Queues, domain.Retention{Failed: domain.Keep(time.Hour)})
		p.Queues.EXPECT().Retentions(apptest.Any).Return(nil, domain.ErrUnavailable)
		for range 5 {
			apptest.Equal(t, "rules", x.Rules(t.Context(), apptest.Failed(t)), domain.RetentionRules{})
			time.Sleep(900 * time.Millisecond)
		}
		p.Queues.EXPECT().Retentions(apptest.Any)
		time.Sleep(time.Second)
		if _, expires := x.Rules(t.Context(), apptest.Failed(t)).ExpiresAt(apptest.Failed(t).PurgeCandidate()); !expires {
			t.Error("it has not asked again")
		}
	})
}

// A table that is locked must not make all wait who look at tasks.
func TestExpiry_WhileOneAsksTheOthersTakeTheLastRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		byDefault := domain.Retention{Failed: domain.Keep(time.Hour)}
		x := usecase.NewExpiry(p.Queues, byDefault)
		want := domain.RetentionRules{Default: byDefault}
		p.Queues.EXPECT().Retentions(apptest.Any)
		apptest.Equal(t, "first rules", x.Rules(t.Context(), apptest.Failed(t)), want)

		time.Sleep(time.Minute)
		p.Queues.EXPECT().Retentions(apptest.Any).DoAndReturn(locked)
		task, begun := apptest.Failed(t), time.Now()
		go x.Rules(t.Context(), task)
		synctest.Wait()
		for range 10 {
			apptest.Equal(t, "rules meanwhile", x.Rules(t.Context(), task), want)
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("the others have waited for %v", waited)
		}
		time.Sleep(4 * time.Second) // given up, and not asked again for a while
		apptest.Equal(t, "rules after the failure", x.Rules(t.Context(), task), want)
	})
}

func TestExpiry_TheFirstAnswerIsWaitedForAsLongAsTheCallerWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		x := usecase.NewExpiry(p.Queues, domain.Retention{Failed: domain.Keep(time.Hour)})
		p.Queues.EXPECT().Retentions(apptest.Any).DoAndReturn(locked)
		task, begun := apptest.Failed(t), time.Now()
		for _, patience := range []time.Duration{time.Hour, 100 * time.Millisecond, time.Hour} {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				apptest.Equal(t, "rules", x.Rules(ctx, task), domain.RetentionRules{})
				if waited := time.Since(begun); waited != min(patience, 500*time.Millisecond) {
					t.Errorf("waited for %v, with a patience of %v", waited, patience)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(time.Second)
	})
}

// locked is a store that does not answer.
func locked(ctx context.Context) (map[domain.QueueName]domain.Retention, error) {
	<-ctx.Done()
	return nil, domain.ErrUnavailable
}
