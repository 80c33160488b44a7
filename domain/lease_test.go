package domain_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// The proportions that the model of the protocol was checked with.
func TestHeartbeat_HasTheProportionsOfTheModel(t *testing.T) {
	if domain.FreshBeats != 2 || domain.ObserverBeats != 3 || domain.BeatsPerLease < 5 {
		t.Errorf("fresh for %d beats, observes after %d, %d beats to a lease", domain.FreshBeats, domain.ObserverBeats, domain.BeatsPerLease)
	}
}

func TestHeartbeat_SaysWhoMayClaimAndWhoMayObserve(t *testing.T) {
	const tick = time.Microsecond
	for name, c := range map[string]struct {
		beat           domain.Heartbeat
		claim, observe bool
	}{
		"unknown":               {domain.Heartbeat{}, false, false},
		"first beat":            {domain.Heartbeat{Last: at(9), Since: at(9), Interval: time.Second}, true, false},
		"fresh to the last":     {domain.Heartbeat{Last: at(7).Add(tick), Since: at(6), Interval: time.Second}, true, true},
		"two beats old":         {domain.Heartbeat{Last: at(7), Since: at(0), Interval: time.Second}, false, false},
		"unbroken long enough":  {domain.Heartbeat{Last: at(8), Since: at(6), Interval: time.Second}, true, true},
		"a moment too short":    {domain.Heartbeat{Last: at(8), Since: at(6).Add(tick), Interval: time.Second}, true, false},
		"slow, and old for one": {domain.Heartbeat{Last: at(0), Since: at(-9), Interval: 5 * time.Second}, true, true},
	} {
		if got := c.beat.Fresh(at(9)); got != c.claim {
			t.Errorf("%s: may claim %v", name, got)
		}
		if got := c.beat.MayObserve(at(9)); got != c.observe {
			t.Errorf("%s: may observe %v", name, got)
		}
	}
}

func TestHeartbeat_SaysWhoseLeaseHolds(t *testing.T) {
	for name, c := range map[string]struct {
		last time.Time
		want bool
	}{
		"just now": {at(9), true}, "later than now": {at(10), true}, "a moment ago less": {at(4).Add(time.Microsecond), true},
		"a lease ago": {at(4), false}, "never": {time.Time{}, false},
	} {
		if got := (domain.Heartbeat{Last: c.last}).Alive(5*time.Second, at(9)); got != c.want {
			t.Errorf("seen %s: alive %v", name, got)
		}
	}
}
