package contract

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// signalLimit bounds the wait for what has to happen: what is lost never comes, and
// what waits for a listener that is stuck never ends.
const signalLimit = 30 * time.Second

// Signals is the suite of application.Signals. open returns signals of its own
// for the test, whose server nothing happens to: so none may be lost that is
// sent at a moderate rate.
func Signals(t *testing.T, open func(t *testing.T) application.Signals) {
	for name, check := range map[string]func(*testing.T, application.Signals){
		"EveryListenerHearsTheSendersToo":            signalsReachAll,
		"KindsAndIDsArriveIntact":                    signalsIntact,
		"TheSenderMayChangeItsSliceAfterwards":       signalsCopied,
		"ThousandsOfIDsInOneSendArrive":              signalsManyIDs,
		"ManySendersAreAllHeard":                     signalsManySenders,
		"HearIsCalledOneAtATime":                     signalsOneAtATime,
		"AfterReadySignalsArrive":                    signalsAfterReady,
		"ReadyIsCalledOnceAndFirst":                  signalsReadyFirst,
		"ASignalWithoutTasksDoesNoHarm":              signalsOfNothing,
		"SendWithoutListenersDoesNotWait":            signalsUnheard,
		"SendDoesNotWaitForASlowListener":            signalsSlowListener,
		"ASlowListenerKeepsNobodyElseFromHearing":    signalsSlowNeighbor,
		"ListenEndsWithItsContext":                   signalsEnd,
		"ListenWithAnEndedContextReturnsAtOnce":      signalsEndedBefore,
		"NothingIsHeardOnceListenHasReturned":        signalsSilentAfter,
		"WhoeverListensAgainHearsWhatIsSentFromThen": signalsAgain,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); check(t, open(t)) })
	}
}

func signalsReachAll(t *testing.T, s application.Signals) {
	listeners := []*signalListener{listenToSignals(t, s), listenToSignals(t, s), listenToSignals(t, s)}
	ids := signalIDs(3)
	s.Send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
	for _, l := range listeners {
		l.wait(t, application.SignalChanged, ids)
	}
}

func signalsIntact(t *testing.T, s application.Signals) {
	l := listenToSignals(t, s)
	changed, stop := signalIDs(20), signalIDs(20)
	var highest domain.TaskID
	copy(highest[:], bytes.Repeat([]byte{0xff}, len(highest)))
	changed = append(changed, domain.TaskID{}, highest, domain.TaskID([]byte("\r\n:\x00\t $*+-\r\n\r\n\"%")))
	for i := range stop {
		s.Send(application.Signal{Kind: application.SignalChanged, Tasks: changed[i : i+1]})
		s.Send(application.Signal{Kind: application.SignalStop, Tasks: stop[i : i+1]})
	}
	s.Send(application.Signal{Kind: application.SignalChanged, Tasks: changed[len(stop):]})
	l.wait(t, application.SignalChanged, changed)
	l.wait(t, application.SignalStop, stop)
	l.wantOnly(t, application.SignalChanged, changed)
	l.wantOnly(t, application.SignalStop, stop)
}

func signalsCopied(t *testing.T, s application.Signals) {
	l := listenToSignals(t, s)
	all := signalIDs(200)
	var own [1]domain.TaskID
	for _, id := range all {
		own[0] = id
		s.Send(application.Signal{Kind: application.SignalStop, Tasks: own[:]})
	}
	l.wait(t, application.SignalStop, all)
}

func signalsManyIDs(t *testing.T, s application.Signals) {
	l := listenToSignals(t, s)
	all := signalIDs(9_999)
	s.Send(application.Signal{Kind: application.SignalChanged, Tasks: all})
	l.wait(t, application.SignalChanged, all)
	l.wantOnly(t, application.SignalChanged, all)
}

func signalsManySenders(t *testing.T, s application.Signals) {
	a, b := listenToSignals(t, s), listenToSignals(t, s)
	all := signalIDs(5_000)
	var group sync.WaitGroup
	for own := range slices.Chunk(all, 100) {
		group.Go(func() {
			for batch := range slices.Chunk(own, 1+rand.IntN(3)) {
				s.Send(application.Signal{Kind: application.SignalChanged, Tasks: batch})
			}
		})
	}
	group.Wait()
	a.wait(t, application.SignalChanged, all)
	b.wait(t, application.SignalChanged, all)
}

func signalsOneAtATime(t *testing.T, s application.Signals) {
	var inside, calls atomic.Int32
	listenWith(t, s, func(application.Signal) {
		if inside.Add(1) > 1 {
			t.Error("hear is called while it runs")
		}
		time.Sleep(time.Millisecond)
		inside.Add(-1)
		calls.Add(1)
	})
	for end := time.Now().Add(signalLimit); calls.Load() < 5 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() { s.Send(application.Signal{Kind: application.SignalChanged, Tasks: signalIDs(1)}) })
		}
		group.Wait()
	}
	if n := calls.Load(); n < 5 {
		t.Errorf("heard %d times", n)
	}
}

// signalsAfterReady sends the moment a listener is ready, many times over.
func signalsAfterReady(t *testing.T, s application.Signals) {
	for range 30 {
		l := listenToSignals(t, s)
		ids := signalIDs(1)
		s.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
		l.wait(t, application.SignalStop, ids)
		l.end(t)
	}
}

func signalsReadyFirst(t *testing.T, s application.Signals) {
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel()
	sending.Go(func() {
		for ctx.Err() == nil {
			s.Send(application.Signal{Kind: application.SignalChanged, Tasks: signalIDs(1)})
			time.Sleep(100 * time.Microsecond)
		}
	})
	for range 20 {
		var readies, heard atomic.Int32
		listen, end := context.WithTimeout(ctx, signalLimit)
		err := s.Listen(listen, func() {
			if heard.Load() > 0 {
				t.Error("a signal was heard before ready was called")
			}
			readies.Add(1)
		}, func(application.Signal) {
			if heard.Add(1) > 3 {
				end()
			}
		})
		end()
		if readies.Load() != 1 || heard.Load() == 0 {
			t.Fatalf("ready was called %d times, hear %d times, error %v", readies.Load(), heard.Load(), err)
		}
	}
}

func signalsOfNothing(t *testing.T, s application.Signals) {
	l := listenToSignals(t, s)
	s.Send(application.Signal{Kind: application.SignalStop})
	ids := signalIDs(1)
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
	l.wait(t, application.SignalStop, ids)
	l.wantOnly(t, application.SignalStop, ids)
}

func signalsUnheard(t *testing.T, s application.Signals) {
	sendMany(t, s)
}

func signalsSlowListener(t *testing.T, s application.Signals) {
	l := blockedListener(t, s)
	sendMany(t, s)
	l()
}

func signalsSlowNeighbor(t *testing.T, s application.Signals) {
	release := blockedListener(t, s)
	defer release()
	l := listenToSignals(t, s)
	ids := signalIDs(1)
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
	l.wait(t, application.SignalStop, ids)
}

func signalsEnd(t *testing.T, s application.Signals) {
	for name, make := range map[string]func() (context.Context, context.CancelFunc){
		"canceled": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		},
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		},
	} {
		ctx, cancel := make()
		begin := time.Now()
		err := s.Listen(ctx, func() {}, func(application.Signal) {})
		if took := time.Since(begin); took > signalLimit || !errors.Is(err, ctx.Err()) || err == nil {
			t.Errorf("%s: it took %v, error %v, want %v", name, took, err, ctx.Err())
		}
		cancel()
	}
}

func signalsEndedBefore(t *testing.T, s application.Signals) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	err := s.Listen(ctx, func() { t.Error("ready was called") }, func(application.Signal) { t.Error("hear was called") })
	if took := time.Since(begin); took > signalLimit || !errors.Is(err, context.Canceled) {
		t.Errorf("it took %v, error %v", took, err)
	}
}

func signalsSilentAfter(t *testing.T, s application.Signals) {
	for range 20 {
		var over atomic.Bool
		ctx, cancel := context.WithTimeout(t.Context(), signalLimit)
		_ = s.Listen(ctx, func() {
			s.Send(application.Signal{Kind: application.SignalChanged, Tasks: signalIDs(10)})
			s.Send(application.Signal{Kind: application.SignalStop, Tasks: signalIDs(10)})
		}, func(application.Signal) {
			if over.Load() {
				t.Error("hear is called after Listen has returned")
			}
			cancel()
		})
		over.Store(true)
		cancel()
	}
	witness := listenToSignals(t, s) // what is on its way has arrived with this
	ids := signalIDs(1)
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
	witness.wait(t, application.SignalStop, ids)
}

func signalsAgain(t *testing.T, s application.Signals) {
	l := listenToSignals(t, s)
	l.end(t)
	missed := signalIDs(1)
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: missed})
	l = listenToSignals(t, s)
	ids := signalIDs(1)
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
	l.wait(t, application.SignalStop, ids)
}
