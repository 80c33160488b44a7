// Package telemetry tells operators what happens: it implements the Events port
// as logs, and decorates other ports so that what they refuse is logged once.
// No other adapter and no use case knows of it.
package telemetry
