package usecase_test

import (
	"context"
	"testing"
	"testing/synctest"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func manageQueues(p *apptest.Ports) *usecase.ManageQueues {
	return usecase.NewManageQueues(p.Queues)
}

func TestManageQueues_ShowsTheQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, mail := apptest.NewPorts(t), application.QueueInfo{QueueSettings: domain.QueueSettings{Name: "mail"}, Pending: 7}
		p.Queues.EXPECT().List(apptest.Any, application.QueueQuery{After: "a", Limit: 2}).Return([]application.QueueInfo{mail, {}}, nil)
		p.Queues.EXPECT().Get(apptest.Any, domain.QueueName("mail")).Return(mail, nil)

		page, err := manageQueues(p).List(t.Context(), application.QueueQuery{After: "a", Limit: 1})
		apptest.Must(t, err)
		apptest.Equal(t, "page", page, usecase.QueuePage{Queues: []application.QueueInfo{mail}, Next: "mail"})
		one, err := manageQueues(p).Get(t.Context(), "mail")
		apptest.Must(t, err)
		apptest.Equal(t, "queue", one, mail)
	})
}

func TestManageQueues_SetsWhatIsNamedAndAnswersTheQueueAsItIsThen(t *testing.T) {
	p, paused := apptest.NewPorts(t), true
	stored := domain.QueueSettings{Name: "mail", MaxRunning: 5}
	gomock.InOrder(
		p.Queues.EXPECT().Change(apptest.Any, domain.QueueName("mail"), apptest.Any).DoAndReturn(
			func(_ context.Context, _ domain.QueueName, decide func(*domain.QueueSettings) error) error {
				return decide(&stored)
			}),
		p.Queues.EXPECT().Get(apptest.Any, domain.QueueName("mail")).DoAndReturn(
			func(context.Context, domain.QueueName) (application.QueueInfo, error) {
				return application.QueueInfo{QueueSettings: stored}, nil
			}),
	)

	got, err := manageQueues(p).Change(t.Context(), usecase.ChangeQueueInput{Name: "mail", Change: domain.QueueChange{Paused: &paused}})

	apptest.Must(t, err)
	apptest.Equal(t, "queue", got.QueueSettings, domain.QueueSettings{Name: "mail", MaxRunning: 5, Paused: true})
}

func TestManageQueues_RefusesALimitOutOfRange(t *testing.T) {
	p, below := apptest.NewPorts(t), -1
	p.Queues.EXPECT().Change(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
		func(_ context.Context, _ domain.QueueName, decide func(*domain.QueueSettings) error) error {
			return decide(&domain.QueueSettings{})
		})

	_, err := manageQueues(p).Change(t.Context(), usecase.ChangeQueueInput{Name: "mail", Change: domain.QueueChange{MaxRunning: &below}})

	wantInvalid(t, err, "max_running")
}

func TestManageQueues_SaysWhatTheStoreSays(t *testing.T) {
	p := apptest.NewPorts(t)
	p.Queues.EXPECT().List(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable)
	p.Queues.EXPECT().Get(apptest.Any, apptest.Any).Return(application.QueueInfo{}, domain.ErrQueueNotFound)
	p.Queues.EXPECT().Change(apptest.Any, apptest.Any, apptest.Any).Return(domain.ErrUnavailable)

	_, err := manageQueues(p).List(t.Context(), application.QueueQuery{})
	apptest.WantError(t, err, domain.ErrUnavailable)
	_, err = manageQueues(p).Get(t.Context(), "mail")
	apptest.WantError(t, err, domain.ErrQueueNotFound)
	_, err = manageQueues(p).Change(t.Context(), usecase.ChangeQueueInput{Name: "mail"})
	apptest.WantError(t, err, domain.ErrUnavailable)
}
