package pgenc

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/lib/pq/oid"
)

// Column is one column of the rows that a statement sends. S is what a row is made of.
type Column[S any] struct {
	name, sqlType string
	element       oid.Oid
	value         func(s *S, b []byte) (_ []byte, null bool) // appends it to b
	size          func(s *S) int                             // see Type
	perRow        bool
}

// ColumnOf makes a column of that name and type, whose value of finds in a row.
func ColumnOf[S, T any](name string, t Type[T], of func(s *S) T) Column[S] {
	c := Column[S]{name: name, sqlType: t.name, element: t.oid, value: func(s *S, b []byte) ([]byte, bool) {
		v := of(s)
		if t.null != nil && t.null(v) {
			return nil, true
		}
		return t.append(b, v), false
	}}
	if t.size != nil {
		c.size = func(s *S) int { return t.size(of(s)) }
	}
	return c
}

// PerRow marks a column whose value differs from row to row, as a rule. It is always
// sent as an array, so that there are fewer statements to be prepared.
func PerRow[S any](c Column[S]) Column[S] {
	c.perRow = true
	return c
}

// Name is the column's name.
func (c Column[S]) Name() string { return c.name }

// of is the column as an argument: as an array, or as a single value if that is
// the same for all.
func (c Column[S]) of(all []S) (arg []byte, same bool) {
	if !c.perRow {
		if first, ok := c.same(all); ok {
			return first, true
		}
	}
	bytes := 0
	if c.size != nil {
		for i := range all {
			bytes += c.size(&all[i])
		}
	}
	return arrayOf(c.element, len(all), bytes, func(i int, b []byte) ([]byte, bool) { return c.value(&all[i], b) }), false
}

// same returns the value that all rows have; nil: NULL.
func (c Column[S]) same(all []S) (first []byte, ok bool) {
	var buf []byte
	for i := range all {
		if i == 0 {
			first, _ = c.value(&all[0], []byte{})
			continue
		}
		v, null := c.value(&all[i], buf[:0])
		if null != (first == nil) || !bytes.Equal(v, first) {
			return nil, false
		}
		buf = v
	}
	return first, true
}

// Null reports whether the value is NULL in all rows.
func (c Column[S]) Null(all []S) bool {
	first, same := c.same(all)
	return same && first == nil
}

// Equal reports whether two rows have the same value. It encodes both values into
// buf, which spares two buffers a comparison.
func (c Column[S]) Equal(a, b *S, buf *[2][]byte) bool {
	x, noX := c.value(a, buf[0][:0])
	y, noY := c.value(b, buf[1][:0])
	if x != nil {
		buf[0] = x
	}
	if y != nil {
		buf[1] = y
	}
	return noX == noY && bytes.Equal(x, y)
}

// UnnestSource writes rows as something that a statement can select from: a column
// that differs is unnested from an array, one that is the same in all rows is a
// single value. The values are those of the columns, in a statement that calls the
// source alias.
//
// An array stands in a SELECT of its own: the planner does not look into it then, so it
// takes a plan for one row and one for any number to cost the same, and keeps the latter.
// Otherwise it would plan a statement for few rows anew each time.
func UnnestSource[S any](p *Params, alias string, columns []Column[S], all []S) (source string, values []string) {
	var arrays, names []string
	for _, c := range columns {
		arg, same := c.of(all)
		if same {
			values = append(values, p.Add(arg, c.sqlType))
			continue
		}
		arrays, names = append(arrays, "(SELECT "+p.Add(arg, c.sqlType+"[]")+")"), append(names, c.name)
		values = append(values, alias+"."+c.name)
	}
	return fmt.Sprintf("unnest(%s) AS %s(%s)", strings.Join(arrays, ", "), alias, strings.Join(names, ", ")), values
}

// Names lists the names of the columns, as a statement does.
func Names[S any](columns []Column[S]) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}
