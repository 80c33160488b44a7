package worker

// The figures that the tests of the package's users need.
const (
	PullWait         = pullWait
	PullTimeout      = pullTimeout
	StopHintDebounce = stopHintDebounce
	SaveTimeout      = saveTimeout
	RetrySoon        = retrySoon
	MaxClaimTries    = maxClaimTries
	ReserveWait      = reserveWait
)
