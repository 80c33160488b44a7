package application_test

import (
	"context"
	"testing"
	"testing/synctest"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func manageQueues(p *ports) *application.ManageQueues {
	return application.NewManageQueues(p.queues)
}

func TestManageQueues_ShowsTheQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, mail := newPorts(t), application.QueueInfo{QueueState: domain.QueueState{Name: "mail"}, Pending: 7}
		p.queues.EXPECT().List(anyArg).Return([]application.QueueInfo{mail}, nil)
		p.queues.EXPECT().Get(anyArg, domain.QueueName("mail")).Return(mail, nil)

		all, err := manageQueues(p).List(t.Context())
		must(t, err)
		alike(t, "queues", all, []application.QueueInfo{mail})
		one, err := manageQueues(p).Get(t.Context(), "mail")
		must(t, err)
		alike(t, "queue", one, mail)
	})
}

func TestManageQueues_SetsWhatIsNamedAndAnswersTheQueueAsItIsThen(t *testing.T) {
	p, paused := newPorts(t), true
	stored := domain.QueueState{Name: "mail", MaxRunning: 5}
	gomock.InOrder(
		p.queues.EXPECT().Change(anyArg, domain.QueueName("mail"), anyArg).DoAndReturn(
			func(_ context.Context, _ domain.QueueName, decide func(*domain.QueueState) error) error {
				return decide(&stored)
			}),
		p.queues.EXPECT().Get(anyArg, domain.QueueName("mail")).DoAndReturn(
			func(context.Context, domain.QueueName) (application.QueueInfo, error) {
				return application.QueueInfo{QueueState: stored}, nil
			}),
	)

	got, err := manageQueues(p).Change(t.Context(), application.ChangeQueueInput{Name: "mail", Change: domain.QueueChange{Paused: &paused}})

	must(t, err)
	alike(t, "queue", got.QueueState, domain.QueueState{Name: "mail", MaxRunning: 5, Paused: true})
}

func TestManageQueues_RefusesALimitOutOfRange(t *testing.T) {
	p, below := newPorts(t), -1
	p.queues.EXPECT().Change(anyArg, anyArg, anyArg).DoAndReturn(
		func(_ context.Context, _ domain.QueueName, decide func(*domain.QueueState) error) error {
			return decide(&domain.QueueState{})
		})

	_, err := manageQueues(p).Change(t.Context(), application.ChangeQueueInput{Name: "mail", Change: domain.QueueChange{MaxRunning: &below}})

	wantInvalid(t, err, "max_running")
}

func TestManageQueues_SaysWhatTheStoreSays(t *testing.T) {
	p := newPorts(t)
	p.queues.EXPECT().List(anyArg).Return(nil, domain.ErrUnavailable)
	p.queues.EXPECT().Get(anyArg, anyArg).Return(application.QueueInfo{}, domain.ErrQueueNotFound)
	p.queues.EXPECT().Change(anyArg, anyArg, anyArg).Return(domain.ErrUnavailable)

	_, err := manageQueues(p).List(t.Context())
	wantError(t, err, domain.ErrUnavailable)
	_, err = manageQueues(p).Get(t.Context(), "mail")
	wantError(t, err, domain.ErrQueueNotFound)
	_, err = manageQueues(p).Change(t.Context(), application.ChangeQueueInput{Name: "mail"})
	wantError(t, err, domain.ErrUnavailable)
}
