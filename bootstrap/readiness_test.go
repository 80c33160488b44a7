package bootstrap

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// What a sweep experiences reaches /readyz: through the events, as a program has them.
func TestReadiness_NamesASweepThatHasFailedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, x, log := apptest.NewPorts(t), usecase.NewExperience(), slog.New(slog.DiscardHandler)
		full := domain.Errorf(domain.CodeUnavailable, "the disk is full")
		var mended atomic.Bool
		p.Dispatch.EXPECT().NextDue(apptest.Any).DoAndReturn(func(context.Context) (time.Time, bool, error) {
			if mended.Load() {
				return time.Time{}, false, nil
			}
			return time.Time{}, false, full
		}).AnyTimes()
		p.Dispatch.EXPECT().Orphaned(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
		p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).AnyTimes()
		p.Dispatch.EXPECT().AcquireSweep(apptest.Any, apptest.Any, apptest.Any, apptest.Any).Return(true, nil).AnyTimes()
		p.Dispatch.EXPECT().ReleaseSweep(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
		p.Dispatch.EXPECT().ForgetKeys(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
		p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).AnyTimes()
		p.Queues.EXPECT().Retentions(apptest.Any).AnyTimes()
		p.Purges.EXPECT().PurgeCursor(apptest.Any, apptest.Any).AnyTimes()
		p.Purges.EXPECT().PurgeCandidates(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
		p.Events.EXPECT().Purged(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
		p.Workers.EXPECT().Forget(apptest.Any, apptest.Any).AnyTimes()
		p.Events.EXPECT().LoopRan(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
		p.Events.EXPECT().DispatchLag(apptest.Any, apptest.Any).AnyTimes()
		dispatcher := dispatch.New(dispatch.Deps{
			Tasks: p.Dispatch, Workers: p.Workers, Bulks: p.Bulks, Purges: p.Purges, Queues: p.Queues, Queue: p.Queue, Signals: p.Signals, Clock: p.Clock,
			Events: usecase.NewExperiencedEvents(p.Events, x),
		}, dispatch.Config{Observer: application.Observer{Worker: "w", Interval: 3 * time.Second, Lease: 30 * time.Second}, Retry: apptest.RetryPolicy})
		admin := httpapi.NewAdminServer(httpapi.AdminConfig{ListenAddr: "127.0.0.1:0"}, usecase.NewCheckReadiness(
			usecase.NamedProbe{Name: "work", Probe: x.Needed(), Needs: true}, usecase.NamedProbe{Name: "side_work", Probe: x.Helpful()}), log)
		want := func(status int, text string) {
			t.Helper()
			answer := httptest.NewRecorder()
			admin.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
			if answer.Code != status || !strings.Contains(answer.Body.String(), text) {
				t.Errorf("/readyz answers %d %s; want %d with %s", answer.Code, answer.Body, status, text)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); dispatcher.Run(ctx) }()

		time.Sleep(59 * time.Second)
		want(http.StatusOK, `"status":"ready"`)
		time.Sleep(2 * time.Second)
		want(http.StatusServiceUnavailable, `"work":"the sweep of due tasks has failed for 1m1s: the disk is full"`)
		mended.Store(true)
		time.Sleep(10 * time.Second)
		want(http.StatusOK, `"status":"ready"`)
		stop()
		<-ended
	})
}
