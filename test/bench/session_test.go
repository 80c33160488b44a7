package main

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestLive_CleansUpFromTheLastAndTellsWhatFailed(t *testing.T) {
	var ended []int
	broken := errors.New("broken")
	err := runSession(t.Context(), func(tb *session) {
		tb.Cleanup(func() { ended = append(ended, 1) })
		tb.Cleanup(func() { ended = append(ended, 2) })
		tb.must(nil, "not this")
		tb.must(broken, "do it")
		t.Error("a session goes on after it has failed")
	})
	if err == nil || err.Error() != "do it: broken" {
		t.Errorf("%v", err)
	}
	if !slices.Equal(ended, []int{2, 1}) {
		t.Errorf("cleaned up %v", ended)
	}
	if err := runSession(t.Context(), func(*session) {}); err != nil {
		t.Error(err)
	}
}

func TestLive_ThatIsInterruptedSaysSoWhateverBreaks(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := runSession(ctx, func(tb *session) {
		cancel()
		tb.sleep(1 << 40)
	})
	if !errors.Is(err, errInterrupted) {
		t.Errorf("%v", err)
	}
}

func TestLive_OfAPanicCleansUp(t *testing.T) {
	ended := false
	defer func() {
		if recover() != "a mistake" || !ended {
			t.Errorf("cleaned up: %v", ended)
		}
	}()
	_ = runSession(t.Context(), func(tb *session) {
		tb.Cleanup(func() { ended = true })
		panic("a mistake")
	})
}
