package bootstrap

import (
	"time"

	"github.com/millrace/millrace/domain"
)

// defaultRetention is RETENTION unless it is set, and what it does not name.
var defaultRetention = domain.Retention{
	Completed: domain.Keep(7 * 24 * time.Hour), Canceled: domain.Keep(7 * 24 * time.Hour), Failed: domain.Keep(30 * 24 * time.Hour),
}

// retentionAllowed is followed by what is wrong.
const retentionAllowed = "completed, canceled and failed, each with " + domain.KeepRule +
	", as in completed=7d,failed=never, or one of these for all three: "

// provideRetention is how long tasks are kept of which neither they nor their queues say it.
func provideRetention(c RetentionConfig) (domain.Retention, error) {
	r, err := domain.ParseRetention(c.Retention)
	if err != nil {
		return r, &SettingError{"RETENTION", c.Retention, retentionAllowed + domain.Public(err).Fields[0].Detail}
	}
	return r.Or(defaultRetention), nil
}

func (c RetentionConfig) check() error {
	_, err := provideRetention(c)
	return err
}
