// Package telemetry logs what happens: it implements the Events port, and decorates other
// ports so that an outage of theirs is logged once. No other adapter and no use case knows
// of it.
package telemetry
