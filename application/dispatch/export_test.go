package dispatch

// The figures that the tests of the package's users need.
const (
	AbandonedInterval = abandonedInterval
	SweepLimit        = sweepLimit
	BulkLimit         = bulkLimit
	KeyLimit          = keyLimit
)
