// Package migrations holds the schema of every store as goose files, one folder
// per dialect, embedded so that a program brings its own schema along.
package migrations
