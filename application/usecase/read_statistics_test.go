package usecase_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestReadStatistics_AnswersEveryStepAndAddsUpWhatIsInIt(t *testing.T) {
	p := apptest.NewPorts(t)
	nine := time.Date(2026, 1, 15, 9, 0, 0, 0, time.UTC)
	p.Statistics.EXPECT().Read(apptest.Any, application.StatisticsQuery{Queue: "mail", From: nine, Until: nine.Add(6 * time.Minute)}).Return([]domain.QueueMinute{
		{Queue: "mail", Minute: nine.Add(3 * time.Minute), QueueCounts: domain.QueueCounts{Submitted: 1, Wait: domain.Histogram{1}}},
		{Queue: "mail", Minute: nine.Add(2 * time.Minute), QueueCounts: domain.QueueCounts{Submitted: 10, Wait: domain.Histogram{0, 2}}},
		{Queue: "mail", Minute: nine, QueueCounts: domain.QueueCounts{Failed: 5}},
	}, nil)

	got, err := usecase.NewReadStatistics(p.Statistics, p.Clock).Run(t.Context(), usecase.ReadStatisticsInput{
		Queue: "mail", From: nine.Add(time.Minute), To: nine.Add(5 * time.Minute), Step: 2 * time.Minute, // in the middle of steps
	})

	apptest.Must(t, err)
	apptest.Equal(t, "points", got.Points, []usecase.StatisticsPoint{
		{At: nine, QueueCounts: domain.QueueCounts{Failed: 5, Wait: nil}},
		{At: nine.Add(2 * time.Minute), QueueCounts: domain.QueueCounts{Submitted: 11, Wait: domain.Histogram{1, 2}}},
		{At: nine.Add(4 * time.Minute)},
	})
}

func TestReadStatistics_ReadsTheLastHourUnlessItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		time.Sleep(90 * time.Second)
		end := apptest.Now().Truncate(time.Minute).Add(time.Minute)
		p.Statistics.EXPECT().Read(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, q application.StatisticsQuery) ([]domain.QueueMinute, error) {
			apptest.Same(t, "query", q, application.StatisticsQuery{From: end.Add(-61 * time.Minute), Until: end})
			return nil, nil
		})
		got, err := usecase.NewReadStatistics(p.Statistics, p.Clock).Run(t.Context(), usecase.ReadStatisticsInput{})
		apptest.Must(t, err)
		apptest.Same(t, "points", len(got.Points), 61)
	})
}

func TestReadStatistics_RefusesWhatIsOutOfBoundsAndNamesIt(t *testing.T) {
	at := time.Date(2026, 1, 15, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		in    usecase.ReadStatisticsInput
		field string
	}{
		"StepTooShort":     {usecase.ReadStatisticsInput{Step: time.Second}, "step"},
		"StepTooLong":      {usecase.ReadStatisticsInput{Step: 25 * time.Hour}, "step"},
		"StepNotInMinutes": {usecase.ReadStatisticsInput{Step: 90 * time.Second}, "step"},
		"BackwardsInTime":  {usecase.ReadStatisticsInput{From: at, To: at}, "from"},
		"TooManySteps":     {usecase.ReadStatisticsInput{Queue: "a", From: at, To: at.Add(1501 * time.Minute)}, "step"},
		"TooMuchOfAll":     {usecase.ReadStatisticsInput{From: at, To: at.Add(6*time.Hour + time.Minute)}, "from"},
		"AllOfTime":        {usecase.ReadStatisticsInput{Queue: "a", From: domain.EarliestTime, To: domain.LatestTime, Step: 24 * time.Hour}, "step"},
	} {
		t.Run(name, func(t *testing.T) {
			p := apptest.NewPorts(t) // the store is not asked
			_, err := usecase.NewReadStatistics(p.Statistics, p.Clock).Run(t.Context(), c.in)
			wantInvalid(t, err, c.field)
		})
	}
	p := apptest.NewPorts(t)
	p.Statistics.EXPECT().Read(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable).Times(2)
	read := usecase.NewReadStatistics(p.Statistics, p.Clock)
	for _, most := range []usecase.ReadStatisticsInput{
		{From: at, To: at.Add(6 * time.Hour)}, {Queue: "a", From: at, To: at.Add(1500 * time.Minute)},
	} {
		_, err := read.Run(t.Context(), most)
		apptest.WantError(t, err, domain.ErrUnavailable)
	}
}
