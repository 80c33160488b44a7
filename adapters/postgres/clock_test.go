package postgres

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/millrace/millrace/test/services"
)

// wallShifted is t as it would have been read had somebody set the time of day
// by a whole number of seconds: the monotonic reading is the same. The package
// time has no way to say that, as Add moves both.
func wallShifted(t time.Time, by time.Duration) time.Time {
	const secondsShift = 30 // of the first word, below them the nanoseconds
	*(*uint64)(unsafe.Pointer(&t)) += uint64(by/time.Second) << secondsShift
	return t
}

// tolerance is how far off a clock may be on a busy machine.
const tolerance = 100 * time.Millisecond

func requireServerTime(t *testing.T, c *Clock) {
	t.Helper()
	var server time.Time
	before := c.Now()
	if err := c.db.calls.SQL.Get(&server, "SELECT clock_timestamp()"); err != nil {
		t.Fatal(err)
	}
	now := c.Now()
	if server.Before(before.Add(-tolerance)) || server.After(now.Add(tolerance)) {
		t.Errorf("it was %s by the server, and from %s to %s by the clock", server, before, now)
	}
	if now.Location() != time.UTC || now.Nanosecond()%1000 != 0 {
		t.Errorf("Now() = %v is not UTC in whole microseconds", now)
	}
}

func TestClock_TellsTheServersTimeOnAMachineAnHourOff(t *testing.T) {
	db := migrated(t, Config{})
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		var shift atomic.Int64
		shift.Store(int64(off))
		c := NewClock(db, time.Now, slog.New(slog.DiscardHandler))
		c.local = func() time.Time { return wallShifted(time.Now(), time.Duration(shift.Load())) }
		if d := time.Until(c.Now()) - off; d.Abs() > time.Minute {
			t.Fatalf("the local clock is not shifted: %s", d)
		}
		eventually(t, "a sample that took no longer than it may", func() error { return c.Sync(t.Context()) })
		requireServerTime(t, c)
		shift.Store(int64(-off)) // somebody sets the clock while we run
		requireServerTime(t, c)
	}
}

// slowLink makes a clock whose every round trip takes that long.
func slowLink(c *Clock, trip *atomic.Int64) {
	var reading, spent atomic.Int64
	c.local = func() time.Time {
		if reading.Add(1)%2 == 0 { // the answer
			spent.Add(trip.Load())
		}
		return time.Now().Add(time.Duration(spent.Load()))
	}
}

func TestClock_TakesTheBestSampleOfASlowLinkAndSaysSoOnce(t *testing.T) {
	var out bytes.Buffer
	c := NewClock(migrated(t, Config{}), time.Now, slog.New(slog.NewTextHandler(&out, nil)))
	var trip atomic.Int64
	trip.Store(int64(120 * time.Millisecond))
	slowLink(c, &trip)
	for range 2 {
		if err := c.Sync(t.Context()); err != nil {
			t.Fatalf("a slow link is no outage: %v", err)
		}
	}
	if got := c.last.Load().err; got < 60*time.Millisecond || got > 500*time.Millisecond {
		t.Errorf("the error of a sample is %s, want half of its round trip", got)
	}
	if n := strings.Count(out.String(), "is slow"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, &out)
	}
}

func TestClock_ASampleCountsWhileItIsTheBest(t *testing.T) {
	now := time.Now()
	at := func(after, off, err time.Duration) *sample {
		return &sample{local: now.Add(after), server: now.Add(after + off), err: err}
	}
	first := at(0, 0, time.Millisecond)
	for name, check := range map[string]struct {
		next *sample
		want bool
	}{
		"a better one":                       {at(time.Second, 0, time.Millisecond/2), true},
		"a worse one soon after":             {at(10*time.Second, 0, 60*time.Millisecond), false},
		"a worse one when the old has aged":  {at(time.Hour, 0, 60*time.Millisecond), true},
		"one that shows the old to be wrong": {at(time.Second, time.Minute, 60*time.Millisecond), true},
	} {
		c := &Clock{}
		c.last.Store(first)
		c.consider(check.next)
		if got := c.last.Load() == check.next; got != check.want {
			t.Errorf("%s is taken: %v, want %v", name, got, check.want)
		}
	}
}

func TestClock_RunCorrectsADriftWithinTenSeconds(t *testing.T) {
	url := services.PostgreSQL(t)
	synctest.Test(t, func(t *testing.T) {
		db, closePool, err := Open(Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer closePool()
		var drift atomic.Int64
		c := NewClock(db, time.Now, slog.New(slog.DiscardHandler))
		c.local = func() time.Time { return time.Now().Add(time.Duration(drift.Load())) }
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()

		right := c.Now()
		drift.Store(int64(time.Hour))
		if d := c.Now().Sub(right); d < time.Hour {
			t.Errorf("before a sample the drift shows: %s", d)
		}
		time.Sleep(syncEvery + time.Millisecond) // of the bubble; the server's clock does not wait
		if d := c.Now().Sub(right).Abs(); d > time.Minute {
			t.Errorf("%s off after a sample", d)
		}
		stop()
		<-done
	})
}
