package spool

// CrashPoint names a place in the code between two durable steps. The tests
// kill the process at every one of them and look at what is left.
type CrashPoint string

// The crash points of an outbox (U) and an inbox (C, S), in the order of the
// steps. The letters are those of the design's table of steps; S1–S9 crash
// right after the step.
const (
	PointClaimRenamed  CrashPoint = "U0.claim-renamed"  // renamed into claimed/, not yet synced
	PointClaimed       CrashPoint = "U1.claimed"        // claim durable, nothing offered
	PointBound         CrashPoint = "U1.bound"          // renamed into claimed/@id/, not yet synced
	PointReclaimed     CrashPoint = "U1.reclaimed"      // renamed to a new id, not yet synced
	PointDoneMarker    CrashPoint = "U1.done-marker"    // claimed, its .done marker still there
	PointBeforeRemove  CrashPoint = "U4.before-remove"  // all receipts in, claim still there
	PointRemoved       CrashPoint = "U6.removed"        // claim removed, removal not yet synced
	PointArchived      CrashPoint = "U6.archived"       // copy or link in the archive durable, claim still there
	PointDeadReason    CrashPoint = "U7.dead-reason"    // reason written, file not yet moved to dead/
	PointDeadMoved     CrashPoint = "U7.dead-moved"     // file in dead/, not yet synced
	PointRetryLinked   CrashPoint = "U8.retry-linked"   // dead file linked back as a claim, still in dead/
	PointStageCreated  CrashPoint = "S1.stage-created"  // empty stage file
	PointStageHalf     CrashPoint = "S2.stage-half"     // some bytes written
	PointStageWritten  CrashPoint = "S2.stage-written"  // all bytes written, digest checked
	PointStageSynced   CrashPoint = "S3.stage-synced"   // file synced
	PointStageDir      CrashPoint = "S4.stage-dir"      // stage/ synced, no row
	PointPrepared      CrashPoint = "S5.prepared"       // row committed, file in stage/
	PointPublishedSome CrashPoint = "S6.published-some" // some of the group renamed
	PointPublished     CrashPoint = "S6.published"      // all of the group renamed, not synced
	PointInboxSynced   CrashPoint = "S7.inbox-synced"   // inbox synced, nobody told
	PointAnswered      CrashPoint = "S8.answered"       // waiting requests told, DELIVERED not written
	PointDelivered     CrashPoint = "S9.delivered"      // DELIVERED written with a later group
	PointPartialKept   CrashPoint = "C1.partial-kept"   // part of a large file synced for a resume
	PointRecovered     CrashPoint = "C3.recovered-some" // in the middle of the recovery at start
)

// CrashPoints lists every crash point, in the order of the steps.
func CrashPoints() []CrashPoint {
	return []CrashPoint{
		PointClaimRenamed, PointClaimed, PointBound, PointReclaimed, PointDoneMarker,
		PointBeforeRemove, PointRemoved, PointArchived, PointDeadReason, PointDeadMoved, PointRetryLinked,
		PointStageCreated, PointStageHalf, PointStageWritten, PointStageSynced, PointStageDir,
		PointPrepared, PointPublishedSome, PointPublished, PointInboxSynced, PointAnswered, PointDelivered,
		PointPartialKept, PointRecovered,
	}
}
