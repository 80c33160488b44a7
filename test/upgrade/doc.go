// Package upgrade runs the programs of an older commit beside those of the working
// tree, on the newer schema, and goes back to them. The older ones are built from
// the history of this repository, so the tests have a build tag, upgrade: `make
// upgrade` runs them where the history is there.
package upgrade
