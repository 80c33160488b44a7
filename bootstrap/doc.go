// Package bootstrap reads the settings and assembles each program, with
// injectors that google/wire generates. It is the only place that knows every
// adapter.
package bootstrap
