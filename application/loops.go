package application

// Experience notes what work has experienced, for readiness.
type Experience interface {
	// Note notes a result of a loop or of a kind of call: an error means that it could
	// not do its work, and nil that it has done some.
	Note(loop Loop, err error)
}

// Loop names a loop or a kind of call, in events, logs and readiness.
type Loop string

// The kinds of calls of clients.
const (
	CallSubmit Loop = "submit"
	CallChange Loop = "change"
	CallRead   Loop = "read"
)

// The loops. A sweep of the dispatcher is a loop, too.
const (
	LoopPull        Loop = "pull"
	LoopClaim       Loop = "claim"
	LoopStart       Loop = "start" // of handlers
	LoopSave        Loop = "save"
	LoopHeartbeat   Loop = "heartbeat"
	LoopGiveBack    Loop = "give_back" // the part of a beat that is not the renewal
	LoopLeave       Loop = "leave"
	LoopListen      Loop = "listen"
	LoopWait        Loop = "wait"
	SweepDue        Loop = "due"
	SweepStranded   Loop = "stranded"
	SweepOrphaned   Loop = "orphaned"
	SweepWorkers    Loop = "workers"
	SweepKeys       Loop = "keys"
	SweepBulk       Loop = "bulk"
	SweepPurge      Loop = "purge"
	SweepStatistics Loop = "statistics"
)
