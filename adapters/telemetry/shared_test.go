package telemetry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a sample that says which one it is.
func counted(takes *time.Duration, err *error, n *int) *shared[int] {
	return &shared[int]{take: func(ctx context.Context) (int, error) {
		*n++
		select {
		case <-time.After(*takes):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		return *n, *err
	}}
}

func TestShared_OneSampleServesAllWhoAskWithinItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes, err, n := 10*time.Millisecond, error(nil), 0
		s := counted(&takes, &err, &n)
		for range 600 { // a minute
			if got, ok := s.get(); !ok || got != n {
				t.Fatalf("%v %v, want the sample %d", got, ok, n)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n != 12 {
			t.Errorf("%d samples in a minute, want one in 5 s", n)
		}
	})
}

func TestShared_ASampleThatTakesLongIsTakenMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes, err, n := 500*time.Millisecond, error(nil), 0
		s := counted(&takes, &err, &n)
		for range 600 {
			s.get()
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if n < 6 || n > 7 {
			t.Errorf("%d samples in a minute, want one in 10 s: a twentieth of the time", n)
		}
	})
}

// An alert that holds for a while, or on absence, must not see a gap.
func TestShared_ASampleThatTakesLongIsShownUntilTheNextHasCome(t *testing.T) {
	for _, takes := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, sampleTimeout - time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			err, n, begun := error(nil), 0, time.Now()
			s := counted(&takes, &err, &n)
			s.get()
			for range 60 { // scrapes
				time.Sleep(15 * time.Second)
				if _, ok := s.get(); !ok {
					t.Errorf("takes %v: none after %v", takes, time.Since(begun))
				}
			}
			time.Sleep(sampleTimeout) // for the last one
			synctest.Wait()
			if most := int(time.Since(begun)/(sampleShare*takes)) + 1; n < 2 || n > most {
				t.Errorf("takes %v: %d samples, want up to %d", takes, n, most)
			}
		})
	}
}

func TestShared_AnOldSampleIsShownForAWhileAndThenNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes, err, n := time.Duration(0), error(nil), 0
		s := counted(&takes, &err, &n)
		first, _ := s.get()
		takes, err = time.Hour, errors.New("away") // it does not even refuse
		time.Sleep(sampleAge)
		for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(100 * time.Millisecond) {
			asked, old := time.Now(), time.Since(begun)+sampleAge
			got, ok := s.get()
			if waited := time.Since(asked); waited > sampleWait || waited > 0 && !asked.Equal(begun) {
				t.Fatalf("who asked after %v has waited for %v", old, waited)
			}
			if want := old+time.Since(asked) <= 30*time.Second; ok != want || ok && got != first {
				t.Fatalf("after %v: %v, %v", old, got, ok)
			}
		}
		takes, err = 0, nil // it is back
		time.Sleep(sampleShare * sampleTimeout)
		s.get()
		synctest.Wait()
		if _, ok := s.get(); !ok {
			t.Error("no sample, although the store is back")
		}
	})
}
