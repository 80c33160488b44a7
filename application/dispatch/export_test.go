package dispatch

// The figures that the tests of the package's users need.
const (
	OrphanedInterval = orphanedInterval
	SweepLimit       = sweepLimit
	BulkLimit        = bulkLimit
	KeyLimit         = keyLimit
	PurgeLimit       = purgeLimit
	PurgePause       = purgePause
)
