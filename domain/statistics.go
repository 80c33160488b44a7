package domain

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The buckets of a Histogram. Each is wider than the one before by the square root of two,
// so what is read from it is right to a factor of 1.42, and usually far nearer.
const (
	histogramBounds = 64
	smallestBound   = 100 * time.Microsecond
	// HistogramBuckets is how many there are: the last takes what is above all bounds,
	// 3.5 days.
	HistogramBuckets = histogramBounds + 1
)

// bounds are the upper bounds of all buckets but the last; a bound is in its bucket.
var bounds = func() (all [histogramBounds]time.Duration) {
	for i := range all {
		all[i] = time.Duration(math.Round(float64(smallestBound) * math.Exp2(float64(i)/2)))
	}
	return all
}()

// Histogram counts durations by bucket. What it is too short for is zero.
type Histogram []int64

// BucketOf is the bucket that counts d.
func BucketOf(d time.Duration) int {
	i, _ := slices.BinarySearch(bounds[:], d)
	return i
}

// Plus is the sum of both.
func (h Histogram) Plus(other Histogram) Histogram {
	if len(h) < len(other) {
		h, other = other, h
	}
	sum := slices.Clone(h)
	for i, n := range other {
		sum[i] += n
	}
	return sum
}

// Count is how many durations are counted.
func (h Histogram) Count() (n int64) {
	for _, in := range h {
		n += in
	}
	return n
}

// Quantile is the duration that a share of those that are counted does not exceed, as near
// as the buckets tell; false: nothing is counted.
func (h Histogram) Quantile(share float64) (time.Duration, bool) {
	total := h.Count()
	if total <= 0 {
		return 0, false
	}
	rank := max(1, int64(math.Ceil(share*float64(total))))
	for i, n := range h {
		if n > 0 && rank <= n {
			return within(i, float64(rank)/float64(n)), true
		}
		rank -= n
	}
	return bounds[histogramBounds-1], true
}

// within is the duration at that part of a bucket. Of the last bucket only the lower end is
// known.
func within(bucket int, part float64) time.Duration {
	var low time.Duration
	if bucket > 0 {
		low = bounds[min(bucket, histogramBounds)-1]
	}
	if bucket >= histogramBounds {
		return low
	}
	return low + time.Duration(part*float64(bounds[bucket]-low))
}

// String spells the counts, with spaces between them and without the zeros at the end.
func (h Histogram) String() string {
	for len(h) > 0 && h[len(h)-1] == 0 {
		h = h[:len(h)-1]
	}
	var b []byte
	for i, n := range h {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(b)
}

// ParseHistogram reads what String has written.
func ParseHistogram(s string) (Histogram, error) {
	fields := strings.Fields(s)
	if len(fields) > HistogramBuckets {
		return nil, errors.New("a histogram has too many buckets")
	}
	h := make(Histogram, len(fields))
	for i, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || n < 0 {
			return nil, errors.New("a count of a histogram is no number that counts")
		}
		h[i] = n
	}
	return h, nil
}

// QueueCounts is what happened to the tasks of a queue in a time.
type QueueCounts struct {
	Submitted      int64
	Started        int64 // attempts whose handler was called
	Completed      int64
	FailedAttempts int64 // that ended in the handler's own error or its deadline
	Failed         int64 // tasks
	Canceled       int64
	// Rescued are the attempts that ended as OutcomeLost: their worker, or their outcome, was
	// lost. One that was asked to stop is OutcomeStopped and not counted.
	Rescued int64
	Wait    Histogram // from due to the start of the handler, of Started
	Run     Histogram // of handlers that completed their attempt, failed or were stopped
}

// CountsOf is what the end of an attempt counts as, of a task that has this status after it.
// An attempt may count, its task, or both.
func CountsOf(outcome AttemptOutcome, after Status) (c QueueCounts) {
	switch outcome {
	case OutcomeFailed:
		c.FailedAttempts = 1
	case OutcomeLost:
		c.Rescued = 1
	}
	switch after {
	case StatusCompleted:
		c.Completed = 1
	case StatusFailed:
		c.Failed = 1
	case StatusCanceled:
		c.Canceled = 1
	}
	return c
}

// Plus is the sum of both.
func (c QueueCounts) Plus(o QueueCounts) QueueCounts {
	return QueueCounts{
		Submitted: c.Submitted + o.Submitted, Started: c.Started + o.Started, Completed: c.Completed + o.Completed,
		FailedAttempts: c.FailedAttempts + o.FailedAttempts, Failed: c.Failed + o.Failed, Canceled: c.Canceled + o.Canceled,
		Rescued: c.Rescued + o.Rescued, Wait: c.Wait.Plus(o.Wait), Run: c.Run.Plus(o.Run),
	}
}

// QueueMinute is what happened to the tasks of a queue in the minute that began then.
type QueueMinute struct {
	Queue  QueueName
	Minute time.Time
	QueueCounts
}

// OtherQueues stands in statistics for the queues beyond those that a process tells apart.
// It is no name that a client can give.
const OtherQueues QueueName = "_other"
