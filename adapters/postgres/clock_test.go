package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/millrace/millrace/domain"
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

func requireServerTime(t *testing.T, c *Clock) {
	t.Helper()
	var server time.Time
	before := c.Now()
	if err := c.db.calls.SQL.Get(&server, "SELECT clock_timestamp()"); err != nil {
		t.Fatal(err)
	}
	now := c.Now()
	if server.Before(before.Add(-maxRoundTrip)) || server.After(now.Add(maxRoundTrip)) {
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
		c := NewClock(db, time.Now)
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

func TestClock_DiscardsASlowRoundTripAndGoesOn(t *testing.T) {
	c := NewClock(migrated(t, Config{}), time.Now)
	eventually(t, "a sample that took no longer than it may", func() error { return c.Sync(t.Context()) })
	before := c.last.Load()
	var readings atomic.Int64
	c.local = func() time.Time {
		return time.Now().Add(time.Duration(readings.Add(1)) * (maxRoundTrip + time.Millisecond))
	}
	if err := c.Sync(t.Context()); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("Sync = %v, want ErrUnavailable", err)
	}
	if c.last.Load() != before {
		t.Error("a sample of a slow round trip was taken")
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
		c := NewClock(db, time.Now)
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
