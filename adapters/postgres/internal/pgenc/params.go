package pgenc

import "fmt"

// Params are the arguments of a statement, gathered while its text is written.
type Params []any

// Add adds an argument and returns its placeholder.
func (p *Params) Add(value any, sqlType string) string {
	*p = append(*p, value)
	return fmt.Sprintf("$%d::%s", len(*p), sqlType)
}
