//! What is known of jobs: what was asked for, and how far that is. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use schemas::control::KEPT_MS;
use schemas::ids::{ApplicationId, JobId};
use schemas::jobs::{JobDefinition, JobError, JobKey, JobKind, JobProgress, JobState};
use schemas::record::Record;

/// How long a job about one event or delivery is kept after its end.
const SINGLE_MS: i64 = 3_600_000;
/// How long any other is.
const BULK_MS: i64 = 30 * 86_400_000;
/// What the jobs of one partition that have ended may weigh, in bytes of their definitions: every control plane holds those of all
/// eight. Beyond it the oldest of whoever has most are kept no longer.
const MOST_ENDED_BYTES: usize = 8 * 1024 * 1024;

/// Jobs, as the records of some partitions tell.
#[derive(Debug, Default)]
pub(crate) struct KnownJobs {
    of: HashMap<JobId, JobParts>,
    /// Those of each application, the newest first.
    by_application: BTreeSet<(ApplicationId, Reverse<(i64, JobId)>)>,
    /// Those that have not ended.
    open: BTreeSet<(ApplicationId, JobId)>,
    /// What the definitions of these weigh, in all and by application.
    open_bytes: usize,
    open_bytes_of: HashMap<ApplicationId, usize>,
}

/// A job that has ended, by its age, and what its definition weighs.
type EndedJob = (Reverse<(i64, JobId)>, usize);

/// What stands of one job. Either may be missing: of what is being removed, or of a kind that a newer build runs.
#[derive(Debug, Default)]
struct JobParts {
    /// With the offset that it stands at.
    definition: Option<(i64, Arc<JobDefinition>)>,
    /// With the offset that it, or the one that it replaces here, stands at.
    progress: Option<(i64, JobProgress)>,
}

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KnownJob {
    pub(crate) definition: Arc<JobDefinition>,
    /// None before it has begun.
    pub(crate) progress: Option<JobProgress>,
}

/// Which jobs are asked for.
#[derive(Clone, Debug)]
pub(crate) struct JobsAsked {
    pub(crate) application: ApplicationId,
    pub(crate) kind: Option<JobKind>,
    pub(crate) state: Option<JobState>,
    /// Those behind this place.
    pub(crate) after: Option<JobPlace>,
    pub(crate) limit: usize,
}

/// Where a job stands among those of its application. It says so by itself, so that a page goes on behind a job that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobPlace {
    /// When it was asked for, Unix ms.
    pub(crate) created_ms: i64,
    pub(crate) id: JobId,
}

// === impl KnownJobs ===

impl KnownJobs {
    /// Takes a record: an older one replaces no newer one. What is cancelled stays so, whatever is written later.
    pub(crate) fn take(&mut self, record: &Record) -> Result<JobKey, JobError> {
        let key = JobKey::decode(record.key.as_deref())?;
        match (key, record.value.as_deref()) {
            (JobKey::Definition(id), Some(value)) => {
                if let Some(definition) = JobDefinition::decode(value)? {
                    self.define(id, definition, record.offset);
                }
            }
            (JobKey::Progress(id), Some(value)) => {
                let progress = JobProgress::decode(value)?;
                self.change(id, |parts| {
                    if parts.progress.as_ref().is_none_or(|(offset, _)| *offset <= record.offset) {
                        parts.progress = Some((record.offset, progress));
                    }
                });
            }
            (JobKey::Definition(id), None) => self.change(id, |parts| parts.definition = None),
            (JobKey::Progress(id), None) => self.change(id, |parts| parts.progress = None),
        }
        Ok(key)
    }

    /// Takes what was asked for, which stands at this offset.
    pub(crate) fn define(&mut self, id: JobId, mut definition: JobDefinition, offset: i64) {
        self.change(id, |parts| {
            let former = parts.definition.as_ref();
            if former.is_some_and(|(former, _)| *former > offset) {
                return;
            }
            let former = former.map(|(_, former)| former);
            let cancelled_ms = former.and_then(|former| former.cancelled_ms).or(definition.cancelled_ms);
            if let Some(former) = former.filter(|former| former.subject != definition.subject) {
                // Two requests of the same name were written at once: what the first one asked for is under way.
                definition = JobDefinition { paused_ms: definition.paused_ms, ..JobDefinition::clone(former) };
            }
            definition.cancelled_ms = cancelled_ms;
            parts.definition = Some((offset, Arc::new(definition)));
        });
    }

    /// How far a job is now.
    pub(crate) fn advance(&mut self, id: JobId, progress: JobProgress) {
        self.change(id, |parts| {
            let offset = parts.progress.as_ref().map_or(-1, |(offset, _)| *offset);
            parts.progress = Some((offset, progress));
        });
    }

    /// One of them.
    pub(crate) fn job(&self, id: JobId) -> Option<KnownJob> {
        self.of.get(&id)?.job()
    }

    /// Whether it is there and something of it is to be done: also where it is cancelled, for its end is yet to be written.
    pub(crate) fn goes_on(&self, id: JobId) -> bool {
        self.of.get(&id).is_some_and(JobParts::goes_on)
    }

    /// Those of which something is to be done, in the order in which they were asked for.
    pub(crate) fn going_on(&self) -> Vec<JobId> {
        let all = self.of.iter().filter(|(_, parts)| parts.goes_on());
        let mut all: Vec<(i64, JobId)> =
            all.filter_map(|(id, parts)| Some((parts.definition.as_ref()?.1.created_ms, *id))).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// An application's, the newest first, and whether there are more.
    pub(crate) fn list(&self, asked: &JobsAsked) -> (Vec<KnownJob>, bool) {
        let jobs = self.of_application(asked.application, asked.after).filter(|job| {
            asked.kind.is_none_or(|kind| job.definition.kind == kind)
                && asked.state.is_none_or(|state| job.state() == state)
        });
        let mut rows: Vec<KnownJob> = jobs.take(asked.limit + 1).collect();
        let is_cut = rows.len() > asked.limit;
        rows.truncate(asked.limit);
        (rows, is_cut)
    }

    /// How many of an application have not ended.
    pub(crate) fn open_count(&self, application: ApplicationId) -> usize {
        let all = (application, JobId(uuid::Uuid::nil()))..=(application, JobId(uuid::Uuid::max()));
        self.open.range(all).count()
    }

    /// What the definitions of those that have not ended weigh, of all applications.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// The same of these applications alone.
    pub(crate) fn open_bytes_of(&self, is_one: impl Fn(ApplicationId) -> bool) -> usize {
        self.open_bytes_of.iter().filter(|(application, _)| is_one(**application)).map(|(_, bytes)| bytes).sum()
    }

    /// Those that ended so long ago that they are not kept, and where all that have ended weigh too much, the oldest of whoever has
    /// most: each owner has the same share, and what one leaves is the others'. `owner`: whose an application is.
    pub(crate) fn outdated<O: Copy + Ord>(
        &self,
        now_ms: i64,
        limit: usize,
        owner: impl Fn(ApplicationId) -> O,
    ) -> Vec<JobId> {
        let (mut ids, mut of) = (Vec::new(), None);
        let mut ended: BTreeMap<O, Vec<EndedJob>> = BTreeMap::new();
        for (application, place) in &self.by_application {
            let Reverse((_, id)) = place;
            let Some(JobParts { definition: Some((_, definition)), progress }) = self.of.get(id) else { continue };
            let Some(ended_ms) = progress.as_ref().and_then(|(_, progress)| progress.ended_ms) else { continue };
            if ended_ms.saturating_add(kept_ms(definition)) < now_ms {
                ids.push(*id);
                continue;
            }
            let owner = match of {
                Some((of, owner)) if of == *application => owner,
                _ => owner(*application),
            };
            of = Some((*application, owner));
            ended.entry(owner).or_default().push((*place, definition.weight()));
        }
        let weights = ended.values().map(|jobs| jobs.iter().map(|(_, weight)| weight).sum()).collect();
        let share = share(weights, MOST_ENDED_BYTES);
        for jobs in ended.values_mut() {
            jobs.sort_unstable();
            let mut bytes = 0_usize;
            for (Reverse((_, id)), weight) in jobs {
                bytes += *weight;
                if bytes > share {
                    ids.push(*id);
                }
            }
        }
        ids.truncate(limit);
        ids
    }

    fn of_application(&self, application: ApplicationId, after: Option<JobPlace>) -> impl Iterator<Item = KnownJob> {
        let first = match after {
            Some(JobPlace { created_ms, id }) => Bound::Excluded((application, Reverse((created_ms, id)))),
            None => Bound::Included((application, Reverse((i64::MAX, JobId(uuid::Uuid::max()))))),
        };
        let all = self.by_application.range((first, Bound::Unbounded));
        let all = all.take_while(move |(of, _)| *of == application);
        all.filter_map(|(_, Reverse((_, id)))| self.job(*id))
    }

    /// Changes what stands of a job, and what follows from it.
    fn change(&mut self, id: JobId, change: impl FnOnce(&mut JobParts)) {
        self.count(id, false);
        let parts = self.of.entry(id).or_default();
        change(parts);
        if parts.definition.is_none() && parts.progress.is_none() {
            self.of.remove(&id);
        }
        self.count(id, true);
    }

    fn count(&mut self, id: JobId, is_there: bool) {
        let Some(parts) = self.of.get(&id) else { return };
        let Some((_, definition)) = &parts.definition else { return };
        let (application, weight) = (definition.application_id, definition.weight());
        let row = (application, Reverse((definition.created_ms, id)));
        let is_open = parts.job().is_some_and(|job| !job.state().has_ended());
        if is_there {
            self.by_application.insert(row);
            if is_open && self.open.insert((application, id)) {
                self.open_bytes += weight;
                *self.open_bytes_of.entry(application).or_default() += weight;
            }
        } else {
            self.by_application.remove(&row);
            if self.open.remove(&(application, id)) {
                self.open_bytes -= weight;
                if let Some(bytes) = self.open_bytes_of.get_mut(&application) {
                    *bytes = bytes.saturating_sub(weight);
                }
                if self.open_bytes_of.get(&application) == Some(&0) {
                    self.open_bytes_of.remove(&application);
                }
            }
        }
    }
}

/// What each owner may have, so that all together have no more than `all`: who has less leaves the rest to the others.
fn share(mut weights: Vec<usize>, mut all: usize) -> usize {
    weights.sort_unstable();
    for (left, weight) in (1..=weights.len()).rev().zip(weights) {
        if weight > all / left {
            return all / left;
        }
        all -= weight;
    }
    usize::MAX
}

/// Whether the id of a job is made of a name that the request gave: who sends it again asks for the same job.
pub(crate) fn is_named(id: JobId) -> bool {
    id.0.get_version_num() == 5
}

/// How long a job is kept after its end. One with a name of the client's is kept as long as any answer to a request that may be sent
/// again.
fn kept_ms(definition: &JobDefinition) -> i64 {
    match (definition.is_bulk(), is_named(definition.job_id)) {
        (true, _) => BULK_MS,
        (false, true) => KEPT_MS,
        (false, false) => SINGLE_MS,
    }
}

// === impl JobPlace ===

impl JobPlace {
    /// Of a job, where it is known.
    pub(crate) fn of(job: &KnownJob) -> Self {
        Self { created_ms: job.definition.created_ms, id: job.definition.job_id }
    }
}

impl fmt::Display for JobPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_ms, self.id)
    }
}

impl FromStr for JobPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (created_ms, id) = text.split_once('.').ok_or(())?;
        Ok(Self { created_ms: created_ms.parse().map_err(drop)?, id: id.parse().map_err(drop)? })
    }
}

// === impl JobParts ===

impl JobParts {
    fn job(&self) -> Option<KnownJob> {
        let (_, definition) = self.definition.as_ref()?;
        let progress = self.progress.as_ref().map(|(_, progress)| progress.clone());
        Some(KnownJob { definition: Arc::clone(definition), progress })
    }

    fn goes_on(&self) -> bool {
        self.definition.is_some() && self.progress.as_ref().is_none_or(|(_, progress)| !progress.state.has_ended())
    }
}

// === impl KnownJob ===

impl KnownJob {
    /// One that was asked for a moment ago.
    pub(crate) fn asked(definition: JobDefinition) -> Self {
        Self { definition: Arc::new(definition), progress: None }
    }

    /// The same, where it has come to.
    pub(super) fn at(self, cursor: String) -> Self {
        let begun = JobProgress::begun(self.definition.job_id, self.definition.created_ms);
        Self { progress: Some(JobProgress { cursor: Some(cursor), ..begun }), ..self }
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> JobState {
        match &self.progress {
            Some(progress) if progress.state.has_ended() => progress.state,
            _ if self.definition.cancelled_ms.is_some() => JobState::Cancelled,
            _ if self.definition.paused_ms.is_some() => JobState::Paused,
            Some(progress) => progress.state,
            None => JobState::Queued,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
