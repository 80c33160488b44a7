package domain_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/domain"
)

// histogramOf counts durations.
func histogramOf(all ...time.Duration) domain.Histogram {
	h := make(domain.Histogram, domain.HistogramBuckets)
	for _, d := range all {
		h[domain.BucketOf(d)]++
	}
	return h
}

func TestHistogram_QuantilesAreInTheRightBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []time.Duration
		for _, us := range rapid.SliceOfN(rapid.Int64Range(100, 300_000_000_000), 1, 50).Draw(t, "durations") {
			all = append(all, time.Duration(us)*time.Microsecond)
		}
		h := histogramOf(all...)
		slices.Sort(all)
		for _, share := range []float64{0.5, 0.95, 0.99, 1} {
			got, ok := h.Quantile(share)
			rank := max(1, int(float64(len(all))*share+0.999999999))
			want := all[min(rank, len(all))-1]
			// Both are in one bucket, whose ends are a factor of the square root of two apart.
			if ratio := float64(got) / float64(want); !ok || ratio < 0.7 || ratio > 1.4143 {
				t.Errorf("the %v quantile of %v is %v, want %v", share, all, got, want)
			}
		}
	})
}

func TestHistogram_HasBucketsFromNothingToForEver(t *testing.T) {
	for d, want := range map[time.Duration]int{
		-time.Second: 0, 0: 0, 100 * time.Microsecond: 0, 100*time.Microsecond + 1: 1, time.Millisecond: 7, time.Second: 27, time.Hour: 51,
		80 * time.Hour: 63, 90 * time.Hour: 64, 1 << 62: 64,
	} {
		if got := domain.BucketOf(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
	if _, ok := (domain.Histogram{}).Quantile(0.5); ok {
		t.Error("nothing has a quantile")
	}
	if got, _ := histogramOf(1 << 62).Quantile(0.5); got < 80*time.Hour || got > 90*time.Hour {
		t.Errorf("what is above all buckets is told as %v", got)
	}
}

func TestHistogram_AddsUpAndIsReadAsItWasWritten(t *testing.T) {
	counts := rapid.SliceOfN(rapid.Int64Range(0, 1<<40), 0, domain.HistogramBuckets)
	rapid.Check(t, func(t *rapid.T) {
		a, b := domain.Histogram(counts.Draw(t, "a")), domain.Histogram(counts.Draw(t, "b"))
		before := a.String()
		sum := a.Plus(b)
		if sum.Count() != a.Count()+b.Count() || sum.String() != b.Plus(a).String() || a.String() != before {
			t.Errorf("%v and %v are %v", a, b, sum)
		}
		read, err := domain.ParseHistogram(sum.String())
		if err != nil || read.String() != sum.String() || read.Count() != sum.Count() {
			t.Errorf("%q is read as %v, %v", sum.String(), read, err)
		}
	})
	for _, bad := range []string{"-1", "1 x", "9223372036854775808", "1.5"} {
		if h, err := domain.ParseHistogram(bad); err == nil {
			t.Errorf("%q is read as %v", bad, h)
		}
	}
}

func TestCountsOf_TheEndOfAnAttempt(t *testing.T) {
	for _, c := range []struct {
		outcome domain.AttemptOutcome
		after   domain.Status
		want    domain.QueueCounts
	}{
		{domain.OutcomeCompleted, domain.StatusCompleted, domain.QueueCounts{Completed: 1}},
		{domain.OutcomeFailed, domain.StatusPending, domain.QueueCounts{FailedAttempts: 1}},
		{domain.OutcomeFailed, domain.StatusFailed, domain.QueueCounts{FailedAttempts: 1, Failed: 1}},
		{domain.OutcomeLost, domain.StatusPending, domain.QueueCounts{Rescued: 1}},
		{domain.OutcomeLost, domain.StatusFailed, domain.QueueCounts{Rescued: 1, Failed: 1}},
		{domain.OutcomeStopped, domain.StatusCanceled, domain.QueueCounts{Canceled: 1}},
		{domain.OutcomeReleased, domain.StatusPending, domain.QueueCounts{}},
	} {
		if got := domain.CountsOf(c.outcome, c.after); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s, the task %s: %+v, want %+v", c.outcome, c.after, got, c.want)
		}
	}
}
