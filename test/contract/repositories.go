// Package contract holds the suites that every adapter of a port passes. They
// are the ports' comments, sentence by sentence, and know no adapter by name: a
// test of an adapter opens an empty store and calls the suite.
package contract

import (
	"testing"

	"github.com/millrace/millrace/application"
)

// Store is one store behind the three ports of the record.
type Store struct {
	Tasks    application.TaskRepository
	Workers  application.WorkerRepository
	Dispatch application.DispatchRepository
}

// Repositories checks the adapters of TaskRepository, WorkerRepository and
// DispatchRepository that share a store. open returns an empty store for each
// check and registers its cleanup; checks run in parallel. The store's time has
// to be the system's to within 100 ms.
func Repositories(t *testing.T, open func(t *testing.T) Store) {
	for name, check := range map[string]func(*testing.T, Store){
		"AddStoresEveryFieldAsItIs":         addKeepsEveryField,
		"AddStoresAllOrNone":                addAllOrNone,
		"AddOfNothingIsNoError":             addNothing,
		"AddMarksTheTasksAsStored":          addMarksStored,
		"GetOfAnUnknownTaskIsNotFound":      getUnknown,
		"VersionsLeaveOutWhatIsUnknown":     versions,
		"GetManyLeavesOutWhatIsUnknown":     getMany,
		"ListIsNewestFirst":                 listNewestFirst,
		"ListSelectsByStatus":               listByStatus,
		"ListPagesByKeyset":                 listPages,
		"SaveStoresEveryChange":             saveStores,
		"SaveKeepsTheResultAndItsWorker":    saveResult,
		"SaveOfAStaleVersionStoresNothing":  saveStale,
		"SaveOfAnUnknownTaskIsNotFound":     saveUnknown,
		"SaveHasOneWinner":                  saveRace,
		"ManyGoroutinesAddAndReadTheirOwn":  addConcurrently,
		"SaveRecordsEndedAttempts":          attemptsOfSaves,
		"SaveRecordsAllThatHaveEnded":       attemptsOfOneSave,
		"SaveThatIsRefusedRecordsNothing":   attemptsOfARefusedSave,
		"SaveRecordsItsOwnAttemptOnly":      attemptsOfARace,
		"SaveOfADoubledRecordSucceeds":      attemptsDoubled,
		"AttemptsAreTheLatestByNumber":      attemptsLatest,
		"AttemptsOfAnUnknownTaskAreNone":    attemptsUnknown,
		"BeatRecordsWhatItGivesBack":        attemptsOfBeats,
		"AbandonedRecordsLostAttempts":      attemptsOfRescues,
		"ClaimIsWhatTheDomainSays":          claimIsTheDomains,
		"ClaimNeverRunsTimeBackwards":       claimClockBehind,
		"ClaimLeavesOutWhatIsNotQueued":     claimOnlyQueued,
		"ClaimReturnsTheOrderOfIDs":         claimOrder,
		"ClaimTakesADoubledIDOnce":          claimDoubled,
		"ClaimOfNothingReturnsNothing":      claimNothing,
		"OnlyOneOfManyClaimsGetsTheTask":    claimIsExclusive,
		"ClaimAndCancelHaveOneWinner":       claimOrCancel,
		"ClaimNeedsAWorkerThatHasBeaten":    claimUnknownWorker,
		"ClaimNeedsAYoungHeartbeat":         claimStaleWorker,
		"BeatWithALowerNumberRenewsNothing": beatLowerRenewsNothing,
		"BeatGivesBackWhatItDoesNotList":    beatGivesBack,
		"BeatWithALowerNumberGivesBackToo":  beatLowerGivesBack,
		"BeatGivesBackAnUnlistedAttempt":    beatUnlistedAttempt,
		"BeatStoresNothingRefused":          beatRefused,
		"BeatCancelsWhatWasAskedToStop":     beatGivesBackStopped,
		"BeatTimesOutWhatIsOverdue":         beatTimesOut,
		"BeatTimesOutWhenTheDeadlinePasses": beatDeadlinePasses,
		"BeatNamesLostAttempts":             beatNamesLost,
		"BeatNamesAttemptsToStop":           beatNamesStop,
		"BeatsAtTheSameTimeAllSucceed":      beatConcurrently,
		"LeaveForgetsAWorker":               leaveForgets,
		"LeaveKeepsAWorkerThatHoldsTasks":   leaveKeepsHolders,
		"ForgetRemovesWorkersLongSilent":    forgetSilent,
		"ForgetKeepsAWorkerThatOwnsTasks":   forgetKeepsOwners,
		"ForgottenWorkersRegisterAgain":     forgottenRegisters,
		"DueFindsWhatIsToRun":               dueFinds,
		"DueTakesTheLongestDueFirst":        dueOrder,
		"StrandedFindsWhatWasMarkedBefore":  strandedFinds,
		"StrandedTakesTheOldestMarkFirst":   strandedOrder,
		"SweepStoresWhatDecideChanged":      sweepStores,
		"SweepPassesWhatDecideRefuses":      sweepPasses,
		"SweepPassesOverTheExcepted":        sweepExcept,
		"SweepsChangeNoTaskTwice":           sweepRace,
		"AbandonedFindsAnUnknownWorkers":    abandonedUnknown,
		"AbandonedIsBounded":                abandonedBounded,
		"AbandonedFindsALapsedLease":        abandonedLapsed,
		"AbandonedNeedsAKnownJudge":         abandonedUnknownJudge,
		"AbandonedNeedsAnUnbrokenHeartbeat": abandonedBrokenJudge,
		"AbandonedSweepsChangeNoTaskTwice":  abandonedRace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, open(t))
		})
	}
}
