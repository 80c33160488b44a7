package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// StatisticsRepository is the record of what happened, by queue and minute. No task depends
// on it.
type StatisticsRepository interface {
	// Add adds the counts of a batch to what is stored of their queues and minutes, all or
	// none, and stores those of which there is nothing yet. A batch whose number is not
	// above that of the last one of its source was added before, and is not added again:
	// whoever does not know what became of a batch sends it again as it was. Of many callers
	// none loses counts to another, nor do they wait for one another in a circle.
	Add(ctx context.Context, b StatisticsBatch) error
	// Read returns what is stored of the minutes from q.From until before q.Until, of one
	// queue or of all, in no particular order.
	Read(ctx context.Context, q StatisticsQuery) ([]domain.QueueMinute, error)
	// Forget removes at most limit minutes before the given time, those that another
	// transaction has locked apart, and returns how many they were. It forgets sources that
	// have added nothing since then, too.
	Forget(ctx context.Context, before time.Time, limit int) (int, error)
}

// StatisticsBatch is a part of what a process has counted.
type StatisticsBatch struct {
	Source  domain.WorkerID // one life of a process, of whichever program
	Number  int64           // counts the batches of the source, from 1
	Minutes []domain.QueueMinute
}

// StatisticsQuery says what to read.
type StatisticsQuery struct {
	Queue       domain.QueueName // empty: all
	From, Until time.Time
}

// StatisticsInterval is how often what was counted is stored; a crash loses no more than
// that of it.
const StatisticsInterval = 10 * time.Second

// KeepStatistics is how long statistics are kept.
const KeepStatistics = 7 * 24 * time.Hour
