package usecase_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application/mocks"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/test/apptest"
)

// probe is a probe that answers with err after a second.
func probe(t *testing.T, name string, needs bool, err error) usecase.NamedProbe {
	t.Helper()
	p := mocks.NewMockProbe(gomock.NewController(t))
	p.EXPECT().Probe(apptest.Any).DoAndReturn(func(context.Context) error {
		time.Sleep(time.Second)
		return err
	}).AnyTimes()
	return usecase.NamedProbe{Name: name, Probe: p, Needs: needs}
}

func TestCheckReadiness_JudgesByWhatTheProgramNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		database, queue error
		want            usecase.Health
	}{
		"AllAnswer":      {nil, nil, usecase.HealthReady},
		"NoQueue":        {nil, apptest.ErrBroken, usecase.HealthDegraded},
		"NoDatabase":     {apptest.ErrBroken, nil, usecase.HealthUnready},
		"NeitherAnswers": {apptest.ErrBroken, apptest.ErrBroken, usecase.HealthUnready},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				database, queue := probe(t, "database", true, c.database), probe(t, "queue", false, c.queue)
				for _, probes := range [][]usecase.NamedProbe{{database, queue}, {queue, database}} {
					r := usecase.NewCheckReadiness(probes...).Run(t.Context())

					apptest.Same(t, "health", r.Health, c.want)
					apptest.Same(t, "checks", len(r.Checks), 2)
					apptest.Same(t, "database", r.Checks["database"], c.database)
					apptest.Same(t, "queue", r.Checks["queue"], c.queue)
				}
			})
		})
	}
}

func TestCheckReadiness_AsksAllProbesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()

		usecase.NewCheckReadiness(probe(t, "a", true, nil), probe(t, "b", true, nil)).Run(t.Context())

		apptest.Same(t, "time taken", time.Since(begun), time.Second)
	})
}

func TestCheckReadiness_SaysThatTheProgramStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		uc := usecase.NewCheckReadiness(probe(t, "database", true, apptest.ErrBroken))
		uc.Stop()

		r := uc.Run(t.Context())

		apptest.Same(t, "health", r.Health, usecase.HealthStopping)
		apptest.Same(t, "database", r.Checks["database"], apptest.ErrBroken)
	})
}
