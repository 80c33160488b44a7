package main

import "fmt"

// Act is one step: who did what.
type Act struct{ Code, W, T uint8 }

// Kind of a step: progress steps are those that a fair scheduler takes once faults have ceased.
const (
	progress uint8 = iota
	fault          // spends the budget
	env            // may happen, nothing may depend on it: clients, operators, thaw, late statements
)

const (
	aAdd uint8 = iota
	aCancel
	aStop
	aReopen
	aEdit
	aRead
	aHold
	aUnhold
	aPush
	aPull
	aDrop
	aClaimSend
	aClaimExec
	aClaimAns
	aPutBack
	aLateClaim
	aStart
	aOK
	aErr
	aStopped
	aSave
	aSmallFailure
	aGiveUp
	aRelease
	aExit
	aBeatSend
	aBeatExec
	aLateBeat
	aDue
	aSight
	aUnsight
	aStranded
	aLease
	aDeadline
	aDPush
	aLock
	aCommit
	aThaw
	aRestart
	aPgUp
	aFailover
	aTick
	fPushLost // the faults begin here
	fPushLate
	fClaimLost
	fClaimGiveUp
	fSaveLost
	fRefuseResult
	fRefuseAll
	fBeatLost
	fBeatGiveUp
	fHang
	fFreeze
	fCrash
	fTerm
	fPgDown
	fFlush
	fDouble
	fPgCrash
	fLag
	nActs
)

// actName has %[1]d for the worker and %[2]d for the task.
var actName = [nActs]string{
	aAdd:          "client adds t%[2]d",
	aCancel:       "client cancels t%[2]d",
	aStop:         "client asks to stop t%[2]d",
	aReopen:       "client reopens t%[2]d",
	aEdit:         "client edits t%[2]d",
	aRead:         "client reads t%[2]d",
	aHold:         "OPERATOR LOCKS the row of t%[2]d",
	aUnhold:       "operator unlocks the row of t%[2]d",
	aPush:         "API pushes t%[2]d",
	aPull:         "W%[1]d pulls t%[2]d",
	aDrop:         "W%[1]d drops the pulled t%[2]d",
	aClaimSend:    "W%[1]d sends claim t%[2]d",
	aClaimExec:    "PG executes claim of W%[1]d for t%[2]d",
	aClaimAns:     "W%[1]d gets the answer for t%[2]d",
	aPutBack:      "W%[1]d gets the answer for t%[2]d, puts back what was locked",
	aLateClaim:    "PG executes a late claim of W%[1]d for t%[2]d",
	aStart:        "W%[1]d starts t%[2]d",
	aOK:           "W%[1]d: handler of t%[2]d succeeds",
	aErr:          "W%[1]d: handler of t%[2]d fails",
	aStopped:      "W%[1]d: handler of t%[2]d stops as told",
	aSave:         "W%[1]d saves the outcome of t%[2]d",
	aSmallFailure: "W%[1]d saves a small failure of t%[2]d",
	aGiveUp:       "W%[1]d gives up the refused outcome of t%[2]d",
	aRelease:      "W%[1]d releases t%[2]d",
	aExit:         "W%[1]d exits",
	aBeatSend:     "W%[1]d sends a beat",
	aBeatExec:     "PG executes the beat of W%[1]d",
	aLateBeat:     "PG executes a late beat of W%[1]d",
	aDue:          "W%[1]d due: marks t%[2]d",
	aSight:        "W%[1]d stranded: sees t%[2]d",
	aUnsight:      "W%[1]d stranded: t%[2]d is not any more",
	aStranded:     "W%[1]d stranded: re-marks t%[2]d",
	aLease:        "W%[1]d orphaned: takes t%[2]d (lease)",
	aDeadline:     "W%[1]d orphaned: takes t%[2]d (deadline)",
	aDPush:        "W%[1]d pushes t%[2]d",
	aLock:         "W%[1]d sweep locks t%[2]d",
	aCommit:       "W%[1]d sweep commits t%[2]d",
	aThaw:         "W%[1]d THAWS",
	aRestart:      "W%[1]d RESTARTS under a new identity",
	aPgUp:         "PG IS BACK",
	aFailover:     "FAILOVER to the standby",
	aTick:         "tick",
	fPushLost:     "PUSH of t%[2]d IS LOST",
	fPushLate:     "API STALLS before the push of t%[2]d",
	fClaimLost:    "ANSWER of W%[1]d's claim of t%[2]d IS LOST",
	fClaimGiveUp:  "W%[1]d GIVES UP its claim of t%[2]d (may execute late)",
	fSaveLost:     "W%[1]d saves t%[2]d, ANSWER LOST",
	fRefuseResult: "PG REFUSES the result of t%[2]d",
	fRefuseAll:    "PG REFUSES whatever W%[1]d saves of t%[2]d",
	fBeatLost:     "PG executes the beat of W%[1]d, ANSWER LOST",
	fBeatGiveUp:   "W%[1]d GIVES UP its beat (may execute late)",
	fHang:         "W%[1]d: handler of t%[2]d HANGS",
	fFreeze:       "W%[1]d FREEZES",
	fCrash:        "W%[1]d IS KILLED",
	fTerm:         "W%[1]d gets SIGTERM",
	fPgDown:       "PG IS AWAY",
	fFlush:        "REDIS FLUSHALL",
	fDouble:       "REDIS doubles the entry of t%[2]d",
	fPgCrash:      "PG CRASHES, and loses what is not flushed",
	fLag:          "THE STANDBY IS AWAY: all commits but those of claims wait",
}

// String says who did what.
func (a Act) String() string {
	return fmt.Sprintf(actName[a.Code]+"%[3]s", a.W+1, a.T+1, "")
}
