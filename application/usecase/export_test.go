package usecase

// The figures that the tests of the package's users need.
const (
	HintDebounce = hintDebounce
	PollInterval = pollInterval
)

// Waiting counts the tasks that are waited for and the callers that wait.
func (uc *WaitTask) Waiting() int {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	return len(uc.waiting) + uc.count
}
