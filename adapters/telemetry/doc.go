// Package telemetry makes of what happens what an operator sees: each file implements the
// Events port for one purpose, and Join makes one of them all. It also decorates other ports
// so that an outage of theirs is logged once. Traces decorates those that a task passes
// through, only while there are traces. No other adapter and no use case knows of it.
package telemetry
