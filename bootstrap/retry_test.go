package bootstrap

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// defaultRetries are the policy and the number of attempts of who sets nothing.
func defaultRetries(t *testing.T) (domain.RetryPolicy, int) {
	t.Helper()
	cfg, err := LoadEmbedded(nil)
	if err != nil {
		t.Fatal(err)
	}
	return domain.RetryPolicy{Base: cfg.RetryBase, Cap: cfg.RetryCap}, cfg.MaxAttempts
}

// totalWait is how long a task waits between its first failure and its last attempt, with
// these parts of each wait.
func totalWait(p domain.RetryPolicy, attempts int, part func() float64) time.Duration {
	var total time.Duration
	for failures := 1; failures < attempts; failures++ {
		total += p.Backoff(failures, part())
	}
	return total
}

func TestDefaultRetries_OutlastAnHour(t *testing.T) {
	policy, attempts := defaultRetries(t)
	const seed, tasks = 12, 100_000
	random := rand.New(rand.NewPCG(seed, seed))
	var sum time.Duration
	short, least := 0, time.Duration(1<<62)
	for range tasks {
		total := totalWait(policy, attempts, random.Float64)
		sum += total
		least = min(least, total)
		if total < time.Hour {
			short++
		}
	}
	mean, want := sum/tasks, totalWait(policy, attempts, func() float64 { return 0.5 })
	t.Logf("mean %s, least %s, %d of %d under an hour", mean, least, short, tasks)
	if (mean-want).Abs() > want/100 || mean < 2*time.Hour {
		t.Errorf("the mean is %s, want half of all ceilings, %s, and two hours", mean, want)
	}
	if short > tasks/1000 || least < 30*time.Minute {
		t.Errorf("%d of %d tasks are given up within an hour, the first of them after %s", short, tasks, least)
	}
}

func TestDocuments_SayHowLongTheDefaultRetriesTake(t *testing.T) {
	policy, attempts := defaultRetries(t)
	inWords := func(part float64) string {
		total := totalWait(policy, attempts, func() float64 { return part })
		return strings.TrimSuffix(total.Round(time.Minute).String(), "0s")
	}
	want := "That takes " + inWords(0.5) + " on average and " + inWords(1) + " at most"
	if readme := strings.Join(strings.Fields(read(t, "README.md")), " "); !strings.Contains(readme, want) {
		t.Errorf("the README does not say %q", want)
	}
}
