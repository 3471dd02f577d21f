//! Which jobs of a partition go on: all of which something is to be done stand in a line until their next part is made, written
//! and committed. Pure.
//!
//! The line follows from what is known, never from which records were read: a new runner has read the whole partition before it
//! begins, and what is its own it knows once it is committed. So no record has to be held, none has to be read back, and none that
//! compaction removes is missed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use chassis::clock;
use schemas::ids::{ApplicationId, JobId};
use schemas::jobs::{JobError, JobKey, JobProgress, JobSkip, JobState};
use schemas::record::Record;

use super::known::{KnownJob, KnownJobs};
use super::step::LeftOut;

/// How long a part cannot be made before it is written why: what passes in a moment is nobody's business.
const STALLED: Duration = Duration::from_secs(10);
/// How long until another reason is written.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Jobs of one partition.
#[derive(Debug)]
pub(super) struct JobQueue {
    pub(super) known: KnownJobs,
    /// What stands below this offset was read before this runner began.
    known_below: i64,
    /// By their places: the first goes first, and stands last after each part.
    line: BTreeMap<u64, LinedJob>,
    places: HashMap<JobId, u64>,
    /// The place of the next one that comes.
    next_place: u64,
    /// Jobs whose next part cannot be made.
    stalls: HashMap<JobId, JobStall>,
}

/// A job whose next part cannot be made.
#[derive(Debug)]
struct JobStall {
    since: Instant,
    /// When it was written why.
    told: Option<Instant>,
}

/// A part that begins: of which queue, at which place of its line.
pub(super) type NextPart<K> = (K, u64, KnownJob);

/// A job that goes on.
#[derive(Debug)]
struct LinedJob {
    job: JobId,
    part: PartOf,
    /// Its next part does not begin before.
    not_before: Option<Instant>,
    /// When its rate lets the part begin, or let it.
    due: Option<Instant>,
    /// Its end, which waits for no rate, could not be written: not before.
    ends_after: Option<Instant>,
}

/// How many parts may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartRoom {
    pub(super) all: usize,
    /// Of jobs that may take long: they may wait for the log for a long time, and others need no log.
    pub(super) long: usize,
}

/// Where the next part of a job is.
#[derive(Debug)]
enum PartOf {
    /// It has not begun.
    Waits,
    /// It is being made.
    Making,
    /// It is written and not committed; how far the job is then.
    Written(Box<JobProgress>),
}

/// The parts that begin now, of several queues, one of each in turn. `under_way`: how many of each are, and of these that may take
/// long. Beside what all share each queue has one in any case, so that a busy one stands in nobody's way; `turn` says who is first.
pub(super) fn next_parts<'q, K: Copy + Ord + 'q>(
    queues: impl Iterator<Item = (K, &'q JobQueue)>,
    under_way: &BTreeMap<K, (usize, usize)>,
    (turn, limit, now): (usize, PartRoom, Instant),
    is_long: impl Fn(&KnownJob) -> bool,
) -> Vec<NextPart<K>> {
    let (all, long) = under_way.values().fold((0, 0), |(all, long), of| (all + of.0, long + of.1));
    let mut room = PartRoom { all: limit.all.saturating_sub(all), long: limit.long.saturating_sub(long) };
    let mut waiting: Vec<_> = queues
        .map(|(key, queue)| {
            let own = under_way.get(&key).copied().unwrap_or_default();
            let of_one = |left: usize, own: usize| left.max(usize::from(own == 0));
            let room = PartRoom { all: of_one(room.all, own.0), long: of_one(room.long, own.1) };
            (key, own, VecDeque::from(queue.ready(now, room, &is_long)))
        })
        .collect();
    if !waiting.is_empty() {
        let first = turn % waiting.len();
        waiting.rotate_left(first);
    }
    let mut parts = Vec::new();
    while waiting.iter().any(|(_, _, ready)| !ready.is_empty()) {
        for (key, own, ready) in &mut waiting {
            while let Some((place, job)) = ready.pop_front() {
                // The end of a job that is cancelled is written at once.
                let is_long = is_long(&job) && job.definition.cancelled_ms.is_none();
                let has_room = (room.all > 0 || own.0 == 0) && (!is_long || room.long > 0 || own.1 == 0);
                if has_room {
                    room = room.without(is_long);
                    *own = (own.0 + 1, own.1 + usize::from(is_long));
                    parts.push((*key, place, job));
                    break;
                }
            }
        }
    }
    parts
}

/// When the part behind one that was made now may begin, where that one takes so much of its rate's time. It is counted from when that
/// one was due, so that what it took to make parts is not lost to the rate; of what was lost otherwise one part is caught up with.
fn due_after(due: Option<Instant>, (pause, now): (Duration, Instant)) -> Option<Instant> {
    let next = due.unwrap_or(now) + pause;
    Some(now.checked_sub(pause).map_or(next, |earliest| next.max(earliest)))
}

// === impl PartRoom ===

impl PartRoom {
    /// What is left once a part has begun; `is_long`: of one that may take long.
    fn without(self, is_long: bool) -> Self {
        Self { all: self.all.saturating_sub(1), long: self.long.saturating_sub(usize::from(is_long)) }
    }
}

// === impl JobQueue ===

impl JobQueue {
    /// With everything that stands below an offset.
    pub(super) fn new(known: KnownJobs, known_below: i64) -> Self {
        let (line, places) = (BTreeMap::new(), HashMap::new());
        let mut queue = Self { known, known_below, line, places, next_place: 0, stalls: HashMap::new() };
        for job in queue.known.going_on() {
            queue.line_up(job, (None, None));
        }
        queue
    }

    /// A record of the partition.
    ///
    /// # Errors
    /// It is no job's.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), JobError> {
        let key = JobKey::decode(record.key.as_deref())?;
        let is_own = matches!(key, JobKey::Progress(_)) && record.value.is_some();
        if record.offset < self.known_below || is_own {
            // Nobody else writes how far a job is, and what this runner wrote it knows: this one may be older than that.
            return Ok(());
        }
        self.known.take(record)?;
        let job = key.job();
        match (self.known.goes_on(job), self.places.get(&job).copied()) {
            (true, None) => self.line_up(job, (None, None)),
            (false, Some(place)) if matches!(self.line.get(&place), Some(LinedJob { part: PartOf::Waits, .. })) => {
                self.leave(place);
            }
            _ => {}
        }
        Ok(())
    }

    /// The jobs whose next part may begin, the first of the line first, and so many at most, and of those that may take long. Of each
    /// application a part of one bulk job is under way at a time: so that what it has decided is known before the next one looks.
    pub(super) fn ready(
        &self,
        now: Instant,
        mut room: PartRoom,
        is_long: impl Fn(&KnownJob) -> bool,
    ) -> Vec<(u64, KnownJob)> {
        let turns = self.turns();
        let mut ready = Vec::new();
        for (place, lined) in &self.line {
            if room.all == 0 {
                break;
            }
            let PartOf::Waits = lined.part else { continue };
            let Some(job) = self.known.job(lined.job) else { continue };
            if job.definition.cancelled_ms.is_some() {
                if lined.ends_after.is_some_and(|at| at > now) {
                    continue;
                }
            } else {
                let is_time = lined.not_before.is_none_or(|at| at <= now);
                if job.definition.paused_ms.is_some() || !is_time {
                    continue;
                }
                let is_others_turn = || turns.get(&job.definition.application_id) != Some(&lined.job);
                if (is_long(&job) && room.long == 0) || (job.definition.is_bulk() && is_others_turn()) {
                    continue;
                }
            }
            room = room.without(is_long(&job));
            ready.push((*place, job));
        }
        ready
    }

    /// Whose turn it is among the long ones of each application: nobody's while a part is under way, then who has begun, then the
    /// first of the line. One that waits for its rate keeps its turn, one that is paused does not.
    fn turns(&self) -> BTreeMap<ApplicationId, JobId> {
        let mut turns: BTreeMap<ApplicationId, (bool, JobId)> = BTreeMap::new();
        let mut busy = BTreeSet::new();
        for lined in self.line.values() {
            let Some(job) = self.known.job(lined.job).filter(|job| job.definition.is_bulk()) else { continue };
            let (application, has_begun) = (job.definition.application_id, job.progress.is_some());
            match lined.part {
                PartOf::Making | PartOf::Written(_) => {
                    busy.insert(application);
                }
                PartOf::Waits if job.definition.paused_ms.is_some() || job.definition.cancelled_ms.is_some() => {}
                PartOf::Waits => {
                    let turn = turns.entry(application).or_insert((has_begun, lined.job));
                    if has_begun && !turn.0 {
                        *turn = (true, lined.job);
                    }
                }
            }
        }
        turns.retain(|application, _| !busy.contains(application));
        turns.into_iter().map(|(application, (_, job))| (application, job)).collect()
    }

    /// A job's next part is being made.
    pub(super) fn begin(&mut self, place: u64) {
        if let Some(lined) = self.line.get_mut(&place) {
            lined.part = PartOf::Making;
        }
    }

    /// A job's next part cannot be made now, and why. Where that lasts, returns what is to be written of it: then this is its part.
    pub(super) fn put_off(&mut self, place: u64, why: &str, (now, until): (Instant, Instant)) -> Option<JobProgress> {
        let lined = self.line.get_mut(&place)?;
        (lined.part, lined.not_before) = (PartOf::Waits, Some(until));
        let Some(job) = self.known.job(lined.job).filter(|_| self.known.goes_on(lined.job)) else {
            // It was removed meanwhile.
            self.leave(place);
            return None;
        };
        let stall = self.stalls.entry(lined.job).or_insert(JobStall { since: now, told: None });
        lined.ends_after = job.definition.cancelled_ms.map(|_| until);
        let is_stopped = job.definition.cancelled_ms.is_some() || job.definition.paused_ms.is_some();
        let is_told = job.progress.as_ref().is_some_and(|progress| progress.waiting_for.as_deref() == Some(why));
        let is_soon = stall.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_AGAIN);
        if is_stopped || is_told || is_soon || now.saturating_duration_since(stall.since) < STALLED {
            return None;
        }
        stall.told = Some(now);
        let begun = || JobProgress::begun(job.definition.job_id, clock::now_ms());
        let progress = job.progress.unwrap_or_else(begun).waiting(why);
        lined.part = PartOf::Written(Box::new(progress.clone()));
        Some(progress)
    }

    /// A job's next part was made, which takes so much of its rate's time: whether it is written. Where somebody has stopped the job
    /// meanwhile only its end as cancelled is.
    pub(super) fn made(&mut self, place: u64, progress: &JobProgress, (pause, now): (Duration, Instant)) -> bool {
        let Some(lined) = self.line.get_mut(&place) else { return false };
        let Some(job) = self.known.job(lined.job) else {
            // It was removed meanwhile.
            self.leave(place);
            return false;
        };
        let is_stopped = job.definition.cancelled_ms.is_some() || job.definition.paused_ms.is_some();
        if is_stopped && progress.state != JobState::Cancelled {
            lined.part = PartOf::Waits;
            return false;
        }
        lined.part = PartOf::Written(Box::new(progress.clone()));
        lined.due = due_after(lined.due, (pause, now));
        lined.not_before = lined.due;
        self.stalls.remove(&lined.job);
        true
    }

    /// Outputs of a part that is written are left out, for Kafka takes none so large: how far the job is then.
    pub(super) fn leave_out(&mut self, job: JobId, left_out: &LeftOut) -> Option<JobProgress> {
        let lined = self.line.get_mut(self.places.get(&job)?)?;
        let PartOf::Written(progress) = &mut lined.part else { return None };
        for goal in left_out {
            progress.counts.written = progress.counts.written.saturating_sub(1);
            progress.counts.skip(JobSkip::TooLarge);
            if let (Some(goal), Some(written)) = (goal, &mut progress.written_to) {
                written.take_back(*goal);
            }
        }
        Some(JobProgress::clone(progress))
    }

    /// What was written of a job is committed: it goes on behind all others, if it does.
    pub(super) fn committed(&mut self, job: JobId) {
        let Some(place) = self.places.get(&job).copied() else { return };
        let is_written = matches!(self.line.get(&place), Some(LinedJob { part: PartOf::Written(_), .. }));
        if !is_written {
            return;
        }
        self.places.remove(&job);
        let Some(LinedJob { part: PartOf::Written(progress), not_before, due, .. }) = self.line.remove(&place) else {
            return;
        };
        self.known.advance(job, *progress);
        if self.known.goes_on(job) {
            self.line_up(job, (not_before, due));
        }
    }

    /// How long it takes until another job may go on, if it is time that it waits for.
    pub(super) fn next_in(&self, now: Instant) -> Option<Duration> {
        let waits = self.line.values().filter(|lined| matches!(lined.part, PartOf::Waits));
        waits.filter_map(|lined| lined.not_before).filter(|at| *at > now).min().map(|at| at - now)
    }

    /// What stands below this offset was read before this runner began.
    pub(super) fn known_below(&self) -> i64 {
        self.known_below
    }

    /// Jobs that go on here.
    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    fn leave(&mut self, place: u64) {
        if let Some(lined) = self.line.remove(&place) {
            self.places.remove(&lined.job);
            self.stalls.remove(&lined.job);
        }
    }

    fn line_up(&mut self, job: JobId, (not_before, due): (Option<Instant>, Option<Instant>)) {
        self.line.insert(self.next_place, LinedJob { job, part: PartOf::Waits, not_before, due, ends_after: None });
        self.places.insert(job, self.next_place);
        self.next_place += 1;
    }
}

#[cfg(test)]
mod tests;
