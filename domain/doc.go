// Package domain holds the Task, the state machine of its life, its retry
// policy and the errors of all of Millrace.
//
// It is pure: the standard library and google/uuid, no clock, no JSON, no SQL.
// Time and chance come in as arguments. A rule of a task's life stands here and
// nowhere else; what stores, carries or shows a task asks this package.
package domain
