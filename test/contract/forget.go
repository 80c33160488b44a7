package contract

import (
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// forget removes the workers silent for longer than that, and checks how many they were.
func forget(t *testing.T, s Store, silentFor time.Duration, want int) {
	t.Helper()
	if n, err := s.Workers.Forget(t.Context(), silentFor); err != nil || n != want {
		t.Errorf("forget those silent for %v: %d, %v; want %d", silentFor, n, err, want)
	}
}

func forgetSilent(t *testing.T, s Store) {
	const apart = 4 * time.Second
	forget(t, s, time.Hour, 0)
	silent, other := enlist(t, s), enlist(t, s)
	forget(t, s, time.Minute, 0)
	wantYoung(t, s, silent)

	time.Sleep(apart)
	before := time.Now()
	alive := enlist(t, s)
	forget(t, s, time.Since(before)+apart/2, 2)
	wantStale(t, s, silent)
	wantStale(t, s, other)
	wantYoung(t, s, alive)
	forget(t, s, 0, 1)
	wantStale(t, s, alive)
}

func forgetKeepsOwners(t *testing.T, s Store) {
	owner := enlist(t, s)
	task := addMade(t, s, heldBy(owner, 1))
	forget(t, s, 0, 0)
	wantYoung(t, s, owner)
	wantStored(t, s, task.State())
}

func forgottenRegisters(t *testing.T, s Store) {
	worker := domain.NewWorkerID()
	beat(t, s, beatOf(t, worker, 7, longInterval))
	forget(t, s, 0, 1)
	wantStale(t, s, worker)
	beat(t, s, beatOf(t, worker, 8, longInterval))
	wantYoung(t, s, worker)
}
