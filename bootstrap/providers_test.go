package bootstrap

import (
	"math"
	"testing"
)

func TestBodyBytes_AreATenthOfTheMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		set   int
		limit int64
		want  int
	}{
		{0, math.MaxInt64, 128 << 20}, // no limit
		{0, 8 << 30, 128 << 20},
		{0, 256 << 20, 256 << 20 / 10},
		{0, 0, 1},
		{5000, 256 << 20, 5000},
	} {
		if got := (HTTPConfig{MaxBodyBytes: c.set}).bodyBytes(c.limit); got != c.want {
			t.Errorf("%d set, limit %d: %d, want %d", c.set, c.limit, got, c.want)
		}
	}
}
