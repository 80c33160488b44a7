package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/adapters/telemetry"
)

type probe struct{ err error }

func (p *probe) Probe(context.Context) error { return p.err }

func TestProbe_LogsOneLineWhenItBeginsToFailAndOneWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		next := &probe{}
		p := telemetry.NewProbe(next, "database", slog.New(slog.NewTextHandler(&out, nil)))
		ask := func(err error) {
			next.err = err
			for range 5 {
				if got := p.Probe(t.Context()); !errors.Is(got, err) {
					t.Errorf("%v, want %v", got, err)
				}
				time.Sleep(time.Second)
			}
		}
		ask(nil)
		ask(errors.New("read-only"))
		ask(nil)
		synctest.Wait()
		log := out.String()
		for text, want := range map[string]int{"check failing": 1, "check=database error=read-only": 1, "succeeds again": 1, "\n": 2} {
			if n := strings.Count(log, text); n != want {
				t.Errorf("%d times %q, want %d:\n%s", n, text, want, log)
			}
		}
	})
}
