//! Flaws that the simulation plants, to show that it finds them. Nothing of this is there in a built program.

/// One flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "only the simulation plants them"))]
pub(crate) enum Flaw {
    /// A listed record is not completed in its window.
    EntryWithoutCompleting,
    /// A listed record is completed and no entry stands for it.
    CompletedWithoutEntry,
    /// A chunk that joined the front stays on the topic.
    RefillWithoutTombstone,
    /// A chunk is removed, and its offsets do not join the front.
    TombstoneWithoutRefill,
    /// Outcomes do not change the sum.
    SumKept,
    /// After a takeover lists are served before the window was read again.
    NewerFirst,
    /// Nobody wakes a lane that was resumed.
    ResumeUnseen,
    /// The claim is written before everything is corrected.
    ClaimBeforeCorrection,
    /// Whatever is read back is taken for its lane's.
    OthersRecord,
    /// What is listed is given a time to come back.
    GuessedReturn,
    /// A request whose lease is over keeps its place.
    LeakedPlace,
    /// A lane that has nothing in memory is forgotten, whatever waits in its lists.
    ForgottenQueue,
    /// What hangs is never listed.
    StuckKeptInWindow,
    /// Lanes are written though their batch is not.
    LaneAheadOfBatch,
    /// The end of `lanes` is asked for before the offsets are stable.
    EndAskedTooEarly,
    /// `lanes` is to be read from a place that is committed before everything was written above it.
    CheckpointTooEarly,
    /// Nothing is ever written once more.
    CheckpointForgotten,
    /// The scheduler promotes some seconds early.
    EarlyPromotion,
    /// What was cancelled once sets aside what waits with every look.
    SetAsideAgain,
    /// An owner does not know what the one before has looked at: what was cancelled in between is not set aside.
    CancelUnseen,
    /// A lane stands when what it had read back has died.
    DiedUnwoken,
    /// What a delivery has told its lane is not reviewed, and the lane is not fed.
    ToldUnreviewed,
    /// Only the head of a list is looked at for its age.
    AgedHeadsOnly,
    /// A worker short of CPU takes its own lag for the endpoint's.
    WorkersLagMeasured,
    /// One that failed holds no ordering key: those behind it overtake it.
    KeyNotHeld,
    /// An owner does not know which keys the one before held.
    HeldKeyForgotten,
    /// An owner does not know which retries another one went in the place of.
    SupersededForgotten,
    /// A retry is wanted now that was not there when somebody said so.
    OldWishTaken,
    /// What a lane's first requests take, whose connections are made meanwhile, is taken for its speed.
    FirstIsSpeed,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Flaw>> = const { std::cell::Cell::new(None) };
}

/// Whether this flaw is planted in this thread.
#[cfg(test)]
pub(crate) fn has(flaw: Flaw) -> bool {
    PLANTED.get() == Some(flaw)
}

/// None is.
#[cfg(not(test))]
#[inline]
pub(crate) fn has(_flaw: Flaw) -> bool {
    false
}

/// Plants a flaw in this thread, or none.
#[cfg(test)]
pub(crate) fn plant(flaw: Option<Flaw>) {
    PLANTED.set(flaw);
}
