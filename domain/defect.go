package domain

import "fmt"

// Defect is the refusal of a store that no input leads to: what was to be written breaks
// a rule that the program keeps itself. Trying the same again is of no use, so it is an
// ErrRefused; but no client is at fault, and Public of it is an internal error.
type Defect struct {
	Rule  string // the name that the rule has in the store
	Cause error
}

// Error names the rule and what the store has said.
func (d *Defect) Error() string {
	return fmt.Sprintf("a defect: what was to be written breaks the rule %s: %v", d.Rule, d.Cause)
}

// Is reports whether target is ErrRefused.
func (d *Defect) Is(target error) bool { return target == ErrRefused }

// Unwrap returns what the store has said.
func (d *Defect) Unwrap() error { return d.Cause }
