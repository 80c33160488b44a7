package dispatch_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestDispatcher_ForgetsStatisticsAfterAWeekInPortions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, weekAgo := apptest.NewPorts(t), apptest.Now().Add(10*time.Minute-7*24*time.Hour)
		gomock.InOrder(
			p.Statistics.EXPECT().Forget(apptest.Any, weekAgo, 1000).Return(1000, nil),
			p.Events.EXPECT().Swept(apptest.Any, application.SweepStatistics, 1000),
			p.Statistics.EXPECT().Forget(apptest.Any, weekAgo, 1000).Return(3, nil),
			p.Events.EXPECT().Swept(apptest.Any, application.SweepStatistics, 3),
		)
		runFor(t, p, 10*time.Minute)
	})
}

func TestDispatcher_TellsThatStatisticsCannotBeForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Statistics.EXPECT().Forget(apptest.Any, apptest.Any, apptest.Any).Return(0, domain.ErrUnavailable)
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepStatistics, domain.ErrUnavailable)
		runFor(t, p, 10*time.Minute)
	})
}
