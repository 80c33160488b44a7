// Package pgenc encodes what statements send to PostgreSQL: values and arrays in the
// binary format of the protocol, and rows as a source that a statement selects from,
// so that a statement stores any number of rows. It reads what a statement sends in that
// format where the driver would ask for text.
//
// It knows no table, no connection and nothing of the domain.
package pgenc
