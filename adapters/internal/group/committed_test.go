package group

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

func TestCommitted_HearsHowManyWereDoneTogetherOnceTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []int
		h := newHarness(func(c *Config[int]) { c.Committed = func(n int) { heard = append(heard, n) } })
		h.errs = []error{nil, errors.New("away")}
		first := h.goDo(t.Context(), 1)
		second := h.goDo(t.Context(), 2)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := <-second; err == nil {
			t.Error("a Commit that failed did not fail its caller")
		}
		third, fourth := h.goDo(t.Context(), 3), h.goDo(t.Context(), 4)
		fifth := h.goDo(t.Context(), 5)
		for _, done := range []<-chan error{third, fourth, fifth} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if want := []int{1, 1, 2}; !slices.Equal(heard, want) {
			t.Errorf("heard %v, want %v", heard, want)
		}
	})
}
