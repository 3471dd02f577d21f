//! What is known of jobs: what was asked for, and how far that is. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use schemas::ids::{ApplicationId, JobId};
use schemas::jobs::{JobDefinition, JobError, JobKey, JobKind, JobProgress, JobState};
use schemas::record::Record;

/// How long a job about one event or delivery is kept after its end.
const SINGLE_MS: i64 = 3_600_000;
/// How long any other is.
const BULK_MS: i64 = 30 * 86_400_000;

/// Jobs, as the records of some partitions tell.
#[derive(Debug, Default)]
pub(crate) struct KnownJobs {
    of: HashMap<JobId, JobParts>,
    /// Those that may take long, have begun and have not ended.
    running: BTreeSet<(ApplicationId, JobId)>,
    /// Those whose last part was resolved and is yet to be read back: until then it may not be committed.
    awaited: BTreeSet<(ApplicationId, JobId)>,
    /// Those that ended and whose records were removed: what is read of one again is older than that.
    removed: HashSet<JobId>,
    /// Those of each application, the newest first.
    by_application: BTreeSet<(ApplicationId, Reverse<(i64, JobId)>)>,
}

/// What stands of one job. Either may be missing: of what is being removed, or of a kind that a newer build runs.
#[derive(Debug, Default)]
struct JobParts {
    definition: Option<Arc<JobDefinition>>,
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
    /// Those behind this one.
    pub(crate) after: Option<JobId>,
    pub(crate) limit: usize,
}

// === impl KnownJobs ===

impl KnownJobs {
    /// Takes a record. What is cancelled stays so, whatever is written later.
    pub(crate) fn take(&mut self, record: &Record) -> Result<JobKey, JobError> {
        let key = JobKey::decode(record.key.as_deref())?;
        match (key, record.value.as_deref()) {
            (JobKey::Definition(id), Some(value)) => {
                if let Some(definition) = JobDefinition::decode(value)? {
                    self.define(id, definition);
                }
            }
            (JobKey::Progress(id), Some(value)) => {
                let progress = JobProgress::decode(value)?;
                self.removed.remove(&id);
                let parts = self.of.entry(id).or_default();
                if parts.progress.as_ref().is_none_or(|(offset, _)| *offset <= record.offset) {
                    parts.progress = Some((record.offset, progress));
                    self.awaited.retain(|(_, awaited)| *awaited != id);
                }
            }
            (JobKey::Definition(id), None) => {
                self.forget(id);
                self.of.entry(id).or_default().definition = None;
            }
            (JobKey::Progress(id), None) => {
                self.removed.insert(id);
                self.of.entry(id).or_default().progress = None;
            }
        }
        self.note(key.job());
        if self.of.get(&key.job()).is_some_and(|parts| parts.definition.is_none() && parts.progress.is_none()) {
            self.of.remove(&key.job());
        }
        Ok(key)
    }

    /// Takes what was asked for.
    pub(crate) fn define(&mut self, id: JobId, mut definition: JobDefinition) {
        self.forget(id);
        self.by_application.insert((definition.application_id, Reverse((definition.created_ms, id))));
        let parts = self.of.entry(id).or_default();
        let cancelled_ms = parts.definition.as_ref().and_then(|former| former.cancelled_ms);
        definition.cancelled_ms = cancelled_ms.or(definition.cancelled_ms);
        parts.definition = Some(Arc::new(definition));
    }

    /// How far a job is going to be, once what is resolved is committed.
    pub(crate) fn advance(&mut self, id: JobId, progress: JobProgress) {
        let parts = self.of.entry(id).or_default();
        let offset = parts.progress.as_ref().map_or(-1, |(offset, _)| *offset);
        parts.progress = Some((offset, progress));
        if let Some(definition) = parts.definition.as_ref().filter(|definition| definition.is_bulk()) {
            self.awaited.insert((definition.application_id, id));
        }
    }

    /// Which of an application's that may take long is under way: it has begun, and it may have ended with a part that is yet to be
    /// committed, which nobody else can see before.
    pub(crate) fn running(&self, application: ApplicationId) -> Option<JobId> {
        let first = (application, JobId(uuid::Uuid::nil()));
        let of = |set: &BTreeSet<(ApplicationId, JobId)>| {
            set.range(first..).next().filter(|(of, _)| *of == application).map(|(_, id)| *id)
        };
        of(&self.awaited).or_else(|| of(&self.running))
    }

    /// One of them, if it is known what was asked for.
    pub(crate) fn job(&self, id: JobId) -> Option<KnownJob> {
        let parts = self.of.get(&id)?;
        let definition = Arc::clone(parts.definition.as_ref()?);
        Some(KnownJob { definition, progress: parts.progress.as_ref().map(|(_, progress)| progress.clone()) })
    }

    /// Whether a job has begun, whether or not it is still known how it went.
    pub(crate) fn has_begun(&self, id: JobId) -> bool {
        self.removed.contains(&id) || self.of.get(&id).is_some_and(|parts| parts.progress.is_some())
    }

    /// Where the newest record stands that says how far a job is.
    pub(crate) fn progress_offset(&self, id: JobId) -> Option<i64> {
        self.of.get(&id)?.progress.as_ref().map(|(offset, _)| *offset)
    }

    /// An application's, the newest first, and whether there are more.
    pub(crate) fn list(&self, asked: &JobsAsked) -> (Vec<KnownJob>, bool) {
        let after = asked.after.map(|id| (self.created_ms(id), id));
        let jobs = self.of_application(asked.application).filter(|job| {
            let at = (job.definition.created_ms, job.definition.job_id);
            after.is_none_or(|after| at < after)
                && asked.kind.is_none_or(|kind| job.definition.kind == kind)
                && asked.state.is_none_or(|state| job.state() == state)
        });
        let mut rows: Vec<KnownJob> = jobs.take(asked.limit + 1).collect();
        let is_cut = rows.len() > asked.limit;
        rows.truncate(asked.limit);
        (rows, is_cut)
    }

    /// How many of an application have not ended.
    pub(crate) fn open_count(&self, application: ApplicationId) -> usize {
        self.of_application(application).filter(|job| !job.state().has_ended()).count()
    }

    /// Those that ended so long ago that they are not kept.
    pub(crate) fn outdated(&self, now_ms: i64, limit: usize) -> Vec<JobId> {
        let is_over = |parts: &JobParts| {
            let (Some(definition), Some((_, progress))) = (&parts.definition, &parts.progress) else { return false };
            let kept_ms = if definition.is_bulk() { BULK_MS } else { SINGLE_MS };
            progress.ended_ms.is_some_and(|ended| ended.saturating_add(kept_ms) < now_ms)
        };
        let mut ids: Vec<JobId> = self.of.iter().filter(|(_, parts)| is_over(parts)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }

    fn of_application(&self, application: ApplicationId) -> impl Iterator<Item = KnownJob> {
        let first = (application, Reverse((i64::MAX, JobId(uuid::Uuid::max()))));
        let all = self.by_application.range(first..).take_while(move |(of, _)| *of == application);
        all.filter_map(|(_, Reverse((_, id)))| self.job(*id))
    }

    /// One that is gone stands behind all.
    fn created_ms(&self, id: JobId) -> i64 {
        self.job(id).map_or(i64::MIN, |job| job.definition.created_ms)
    }

    /// A job has changed.
    fn note(&mut self, id: JobId) {
        let Some(JobParts { definition: Some(definition), progress }) = self.of.get(&id) else { return };
        let key = (definition.application_id, id);
        let is_running = progress.as_ref().is_some_and(|(_, progress)| !progress.state.has_ended());
        if definition.is_bulk() && is_running {
            self.running.insert(key);
        } else {
            self.running.remove(&key);
        }
    }

    fn forget(&mut self, id: JobId) {
        if let Some(former) = self.of.get(&id).and_then(|parts| parts.definition.as_ref()) {
            self.running.remove(&(former.application_id, id));
            self.by_application.remove(&(former.application_id, Reverse((former.created_ms, id))));
        }
    }
}

// === impl KnownJob ===

impl KnownJob {
    /// One that was asked for a moment ago.
    pub(crate) fn asked(definition: JobDefinition) -> Self {
        Self { definition: Arc::new(definition), progress: None }
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> JobState {
        match &self.progress {
            Some(progress) if progress.state.has_ended() => progress.state,
            _ if self.definition.cancelled_ms.is_some() => JobState::Cancelled,
            Some(progress) => progress.state,
            None => JobState::Queued,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use schemas::jobs::{JobDeadLetters, JobSubject, USUAL_RATE, VERSION};
    use schemas::record::Headers;
    use uuid::Uuid;

    use super::*;

    pub(crate) fn definition(number: u128, application: u128) -> JobDefinition {
        JobDefinition {
            v: VERSION,
            kind: JobKind::Redrive,
            job_id: JobId(Uuid::from_u128(number)),
            application_id: ApplicationId(Uuid::from_u128(application)),
            created_ms: i64::try_from(number).unwrap(),
            created_by: "admin".to_owned(),
            rate_per_second: USUAL_RATE,
            subject: JobSubject::DeadLetters(JobDeadLetters::default()),
            cancelled_ms: None,
        }
    }

    pub(crate) fn record(offset: i64, key: JobKey, value: Option<Vec<u8>>) -> Record {
        let (key, value) = (Some(key.encode()), value.map(bytes::Bytes::from));
        Record { offset, timestamp_ms: 0, key, value, headers: Headers::default() }
    }

    pub(crate) fn defined(offset: i64, definition: &JobDefinition) -> Record {
        record(offset, JobKey::Definition(definition.job_id), Some(definition.encode().unwrap()))
    }

    pub(crate) fn progressed(offset: i64, progress: &JobProgress) -> Record {
        record(offset, JobKey::Progress(progress.job_id), Some(progress.encode().unwrap()))
    }

    fn ids(known: &KnownJobs, asked: &JobsAsked) -> (Vec<u128>, bool) {
        let (rows, is_cut) = known.list(asked);
        (rows.iter().map(|job| job.definition.job_id.0.as_u128()).collect(), is_cut)
    }

    #[test]
    fn an_application_has_its_own_jobs_the_newest_first_in_pages() {
        let mut known = KnownJobs::default();
        for number in 1..=5 {
            known.take(&defined(0, &definition(number, number % 2))).unwrap();
        }
        let asked = JobsAsked {
            application: ApplicationId(Uuid::from_u128(1)),
            kind: None,
            state: None,
            after: None,
            limit: 2,
        };
        assert_eq!(ids(&known, &asked), (vec![5, 3], true));
        let after = Some(JobId(Uuid::from_u128(3)));
        assert_eq!(ids(&known, &JobsAsked { after, ..asked }), (vec![1], false));
        let retries = JobsAsked { kind: Some(JobKind::Retry), ..asked };
        assert_eq!(ids(&known, &retries), (vec![], false));
        let progress = JobProgress::begun(JobId(Uuid::from_u128(3)), 9);
        known.take(&progressed(1, &progress)).unwrap();
        let running = JobsAsked { state: Some(JobState::Running), ..asked };
        assert_eq!(ids(&known, &running), (vec![3], false));
        assert_eq!(known.open_count(ApplicationId(Uuid::from_u128(1))), 3);
    }

    #[test]
    fn what_is_cancelled_stays_so_and_what_has_ended_is_what_it_ended_as() {
        let mut known = KnownJobs::default();
        let asked = definition(1, 1);
        let cancelled = JobDefinition { cancelled_ms: Some(5), ..asked.clone() };
        known.take(&defined(0, &cancelled)).unwrap();
        known.take(&defined(1, &asked)).unwrap();
        let state = |known: &KnownJobs| known.job(asked.job_id).unwrap().state();
        assert_eq!(state(&known), JobState::Cancelled);
        let progress = JobProgress::begun(asked.job_id, 2);
        known.take(&progressed(2, &progress)).unwrap();
        assert_eq!(state(&known), JobState::Cancelled, "whatever is under way");
        known.take(&progressed(3, &progress.ended(JobState::Done, 3))).unwrap();
        assert_eq!(state(&known), JobState::Done);
        assert_eq!(known.open_count(asked.application_id), 0);
    }

    #[test]
    fn an_older_record_replaces_no_newer_one() {
        let mut known = KnownJobs::default();
        let (begun, id) = (JobProgress::begun(JobId(Uuid::from_u128(1)), 2), JobId(Uuid::from_u128(1)));
        known.take(&progressed(7, &begun.clone().ended(JobState::Done, 3))).unwrap();
        known.take(&progressed(5, &begun)).unwrap();
        assert_eq!(known.progress_offset(id), Some(7));
        known.take(&defined(0, &definition(1, 1))).unwrap();
        assert_eq!(known.job(id).unwrap().state(), JobState::Done);
    }

    #[test]
    fn what_ended_long_ago_is_outdated_and_gone_once_both_records_are() {
        let mut known = KnownJobs::default();
        let asked = definition(1, 1);
        known.take(&defined(0, &asked)).unwrap();
        known.take(&progressed(1, &JobProgress::begun(asked.job_id, 0).ended(JobState::Done, 10))).unwrap();
        assert!(known.outdated(10 + BULK_MS, 9).is_empty());
        assert_eq!(known.outdated(11 + BULK_MS, 9), [asked.job_id]);
        for key in [JobKey::Progress(asked.job_id), JobKey::Definition(asked.job_id)] {
            known.take(&record(2, key, None)).unwrap();
        }
        assert!(known.of.is_empty() && known.by_application.is_empty());
        known.take(&defined(0, &asked)).unwrap();
        assert!(known.has_begun(asked.job_id), "it is read again, and does not begin again");
    }
}
