package application_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/mocks"
)

// probe is a probe that answers with err after a second.
func probe(t *testing.T, name string, needs bool, err error) application.NamedProbe {
	t.Helper()
	p := mocks.NewMockProbe(gomock.NewController(t))
	p.EXPECT().Probe(anyArg).DoAndReturn(func(context.Context) error {
		time.Sleep(time.Second)
		return err
	}).AnyTimes()
	return application.NamedProbe{Name: name, Probe: p, Needs: needs}
}

func TestCheckReadiness_JudgesByWhatTheProgramNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		database, queue error
		want            application.Health
	}{
		"AllAnswer":      {nil, nil, application.HealthReady},
		"NoQueue":        {nil, errBroken, application.HealthDegraded},
		"NoDatabase":     {errBroken, nil, application.HealthUnready},
		"NeitherAnswers": {errBroken, errBroken, application.HealthUnready},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				database, queue := probe(t, "database", true, c.database), probe(t, "queue", false, c.queue)
				for _, probes := range [][]application.NamedProbe{{database, queue}, {queue, database}} {
					r := application.NewCheckReadiness(probes...).Run(t.Context())

					same(t, "health", r.Health, c.want)
					same(t, "checks", len(r.Checks), 2)
					same(t, "database", r.Checks["database"], c.database)
					same(t, "queue", r.Checks["queue"], c.queue)
				}
			})
		})
	}
}

func TestCheckReadiness_AsksAllProbesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()

		application.NewCheckReadiness(probe(t, "a", true, nil), probe(t, "b", true, nil)).Run(t.Context())

		same(t, "time taken", time.Since(begun), time.Second)
	})
}

func TestCheckReadiness_SaysThatTheProgramStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		uc := application.NewCheckReadiness(probe(t, "database", true, errBroken))
		uc.Stop()

		r := uc.Run(t.Context())

		same(t, "health", r.Health, application.HealthStopping)
		same(t, "database", r.Checks["database"], errBroken)
	})
}
