package bootstrap

// The line that wire leaves in wire_gen.go would run an unpinned wire; make
// generate skips it.

//go:generate go tool -modfile=../tools/go.mod wire gen .
