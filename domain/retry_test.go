package domain_test

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/domain"
)

// ceiling is min(Cap, Base * 2^(failures-1)), worked out in whole numbers of any size.
func ceiling(p domain.RetryPolicy, failures int) time.Duration {
	exact := new(big.Int).Lsh(big.NewInt(int64(p.Base)), uint(max(failures-1, 0)))
	if exact.Cmp(big.NewInt(int64(p.Cap))) > 0 {
		return p.Cap
	}
	return time.Duration(exact.Int64())
}

func TestBackoff_IsAPartOfAnExponentialCeiling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := domain.RetryPolicy{
			Base: time.Duration(rapid.Int64Range(0, int64(30*24*time.Hour)).Draw(t, "base")),
			Cap:  time.Duration(rapid.Int64Range(0, int64(30*24*time.Hour)).Draw(t, "cap")),
		}
		failures := rapid.IntRange(0, 200).Draw(t, "failures")
		top := ceiling(p, failures)
		if got := p.Backoff(failures, 1); got != top { // 1 is out of bounds by the least
			t.Fatalf("all of the ceiling is %s, want %s", got, top)
		}
		part := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "part")
		if got := p.Backoff(failures, part); got < 0 || got > top || got != time.Duration(part*float64(top)) {
			t.Fatalf("%v of %s is %s", part, top, got)
		}
	})
}

func TestBackoff_StaysInRangeAtTheExtremes(t *testing.T) {
	p := domain.RetryPolicy{Base: math.MaxInt64/2 + 1, Cap: math.MaxInt64}
	for _, failures := range []int{1, 2, 3, 64, math.MaxInt32} {
		if got := p.Backoff(failures, math.Nextafter(1, 0)); got < p.Base/2 {
			t.Errorf("after %d failures: %d, an overflow", failures, got)
		}
	}
}

func TestBackoff_DoublesUpToAnOddCap(t *testing.T) {
	if got := (domain.RetryPolicy{Base: 3, Cap: 7}).Backoff(2, 1); got != 6 {
		t.Errorf("the ceiling is %d, want 6", got)
	}
}

func TestBackoff_GrowsToTheCap(t *testing.T) {
	p := domain.RetryPolicy{Base: time.Second, Cap: 5 * time.Second}
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 5 * time.Second, 40: 5 * time.Second} {
		if got := p.Backoff(failures, 0.5); got != want/2 {
			t.Errorf("half of the wait after %d failures is %s, want %s", failures, got, want/2)
		}
	}
}
