package usecase_test

import (
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
