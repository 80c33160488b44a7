package domain

// SetIDCounter lets a test choose where the counter within ids stands.
func SetIDCounter(n uint32) { idCounter.Store(n) }
