//! Which jobs of a partition go on: each has one record that says where it stands, and waits here until its next part is
//! resolved. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use schemas::ids::{ApplicationId, JobId};
use schemas::jobs::{JobError, JobKey};
use schemas::record::Record;

use super::known::{KnownJob, KnownJobs};

/// Jobs of one partition.
#[derive(Debug)]
pub(super) struct JobQueue {
    pub(super) known: KnownJobs,
    /// By the offsets of their records: the oldest goes first.
    tokens: BTreeMap<i64, JobToken>,
    /// Records that say nothing new.
    passed: Vec<PassedRecord>,
}

/// The record of a job that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobToken {
    pub(super) record: PassedRecord,
    pub(super) job: JobId,
    /// Its next part is being made.
    is_under_way: bool,
    /// Its next part does not begin before.
    not_before: Option<Instant>,
}

/// What a record is resolved by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PassedRecord {
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) size: usize,
}

// === impl JobQueue ===

impl JobQueue {
    /// With what was known before.
    pub(super) fn new(known: KnownJobs) -> Self {
        Self { known, tokens: BTreeMap::new(), passed: Vec::new() }
    }

    /// A record of the partition.
    ///
    /// # Errors
    /// It is no job's; it is passed over all the same.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), JobError> {
        let place = PassedRecord { offset: record.offset, timestamp_ms: record.timestamp_ms, size: record.size() };
        let key = match self.known.take(record) {
            Ok(key) => key,
            Err(error) => {
                self.passed.push(place);
                return Err(error);
            }
        };
        let job = key.job();
        if record.value.is_none() {
            let removed = self.tokens.extract_if(.., |_, token| token.job == job);
            self.passed.extend(removed.map(|(_, token)| token.record));
        }
        let goes_on = match key {
            // What is written anew says nothing of where it stands.
            JobKey::Definition(_) => !self.known.has_begun(job) && !self.has_token(job),
            // An older one was there before what is known.
            JobKey::Progress(_) => self.known.progress_offset(job) == Some(record.offset),
        };
        let is_open = self.known.job(job).is_some_and(|job| job.progress.is_none_or(|it| !it.state.has_ended()));
        if goes_on && is_open {
            self.tokens.insert(place.offset, JobToken { record: place, job, is_under_way: false, not_before: None });
        } else {
            self.passed.push(place);
        }
        Ok(())
    }

    /// Takes the records that say nothing new.
    pub(super) fn take_passed(&mut self) -> Vec<PassedRecord> {
        std::mem::take(&mut self.passed)
    }

    /// The jobs whose next part may begin, the oldest first. Of each application one that may take long is under way at a time:
    /// so that what one of them has decided is known before the next one looks.
    pub(super) fn ready(&self, now: Instant) -> Vec<(i64, KnownJob)> {
        let jobs: Vec<(i64, &JobToken, KnownJob)> = self
            .tokens
            .iter()
            .filter_map(|(offset, token)| Some((*offset, token, self.known.job(token.job)?)))
            .collect();
        let mut turns: BTreeMap<ApplicationId, JobId> = BTreeMap::new();
        // What has begun ends first, also while its record is yet to be read back.
        for is_begun in [true, false] {
            for (_, token, job) in jobs.iter().filter(|(_, _, job)| job.definition.is_bulk()) {
                let application = job.definition.application_id;
                if let Some(running) = self.known.running(application) {
                    turns.insert(application, running);
                } else if token.is_under_way == is_begun {
                    turns.entry(application).or_insert(token.job);
                }
            }
        }
        let is_ready = |token: &JobToken, job: &KnownJob| {
            let is_cancelled = job.definition.cancelled_ms.is_some();
            let has_turn = !job.definition.is_bulk() || turns.get(&job.definition.application_id) == Some(&token.job);
            let is_time = token.not_before.is_none_or(|at| at <= now);
            !token.is_under_way && (is_cancelled || (has_turn && is_time))
        };
        let ready = jobs.into_iter().filter(|(_, token, job)| is_ready(token, job));
        ready.map(|(offset, _, job)| (offset, job)).collect()
    }

    /// A job's next part is being made.
    pub(super) fn begin(&mut self, offset: i64) {
        if let Some(token) = self.tokens.get_mut(&offset) {
            token.is_under_way = true;
        }
    }

    /// A job's next part cannot be made now.
    pub(super) fn put_off(&mut self, offset: i64, until: Instant) {
        if let Some(token) = self.tokens.get_mut(&offset) {
            (token.is_under_way, token.not_before) = (false, Some(until));
        }
    }

    /// A job's next part is resolved.
    pub(super) fn end(&mut self, offset: i64) -> Option<JobToken> {
        self.tokens.remove(&offset)
    }

    /// The next part of a job does not begin before. False: where it stands is not read back yet.
    pub(super) fn pace(&mut self, job: JobId, until: Instant) -> bool {
        let token = self.tokens.values_mut().find(|token| token.job == job);
        token.map(|token| token.not_before = Some(until)).is_some()
    }

    /// How long it takes until another job may go on, if it is time that it waits for.
    pub(super) fn next_in(&self, now: Instant) -> Option<Duration> {
        let waits = self.tokens.values().filter(|token| !token.is_under_way).filter_map(|token| token.not_before);
        waits.filter(|at| *at > now).min().map(|at| at - now)
    }

    /// Jobs that go on here.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Records that wait to be resolved.
    pub(super) fn live(&self) -> usize {
        self.tokens.len() + self.passed.len()
    }

    fn has_token(&self, job: JobId) -> bool {
        self.tokens.values().any(|token| token.job == job)
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock;
    use schemas::delivery::RecordPlace;
    use schemas::ids::{DeliveryId, SubscriptionId};
    use schemas::jobs::{JobDefinition, JobDelivery, JobKind, JobProgress, JobState, JobSubject};
    use uuid::Uuid;

    use super::super::known::tests::{defined, definition, progressed};
    use super::*;

    fn single(number: u128) -> JobDefinition {
        let delivery = JobDelivery {
            delivery_id: DeliveryId(Uuid::nil()),
            subscription_id: SubscriptionId(Uuid::nil()),
            record: RecordPlace { partition: 0, offset: 0 },
        };
        JobDefinition { kind: JobKind::Retry, subject: JobSubject::Delivery(delivery), ..definition(number, 1) }
    }

    fn ready(queue: &JobQueue, now: Instant) -> Vec<i64> {
        queue.ready(now).into_iter().map(|(offset, _)| offset).collect()
    }

    fn offsets(passed: Vec<PassedRecord>) -> Vec<i64> {
        passed.into_iter().map(|it| it.offset).collect()
    }

    #[test]
    fn long_jobs_of_an_application_take_turns_and_short_ones_go_between() {
        let (mut queue, now) = (JobQueue::new(KnownJobs::default()), clock::instant());
        for (offset, job) in [definition(1, 1), definition(2, 1), definition(3, 2), single(4)].iter().enumerate() {
            queue.take(&defined(i64::try_from(offset).unwrap(), job)).unwrap();
        }
        assert_eq!(ready(&queue, now), [0, 2, 3]);
        queue.begin(0);
        assert_eq!(ready(&queue, now), [2, 3]);
        // Its first part is written: where it stands is read back, and the second waits still.
        let job = queue.end(0).unwrap().job;
        let progress = JobProgress::begun(job, 5);
        queue.known.advance(job, progress.clone());
        assert_eq!(ready(&queue, now), [2, 3], "its record is yet to be read back");
        queue.take(&progressed(9, &progress)).unwrap();
        assert_eq!(ready(&queue, now), [2, 3, 9]);
        assert!(queue.pace(job, now + Duration::from_secs(1)));
        assert_eq!(ready(&queue, now), [2, 3]);
        assert_eq!(queue.next_in(now), Some(Duration::from_secs(1)));
        assert_eq!(ready(&queue, now + Duration::from_secs(1)), [2, 3, 9]);
        let ended = progress.ended(JobState::Done, 9);
        queue.end(9);
        queue.known.advance(job, ended.clone());
        assert_eq!(ready(&queue, now), [2, 3], "its last part is yet to be committed");
        queue.take(&progressed(10, &ended)).unwrap();
        assert_eq!(ready(&queue, now), [1, 2, 3]);
        assert_eq!(offsets(queue.take_passed()), [10]);
    }

    #[test]
    fn a_cancelled_job_ends_whatever_it_waits_for() {
        let (mut queue, now) = (JobQueue::new(KnownJobs::default()), clock::instant());
        queue.take(&defined(0, &definition(1, 1))).unwrap();
        queue.take(&defined(1, &definition(2, 1))).unwrap();
        queue.put_off(0, now + Duration::from_secs(60));
        assert!(ready(&queue, now).is_empty());
        queue.take(&defined(2, &JobDefinition { cancelled_ms: Some(1), ..definition(2, 1) })).unwrap();
        assert_eq!((ready(&queue, now), offsets(queue.take_passed())), (vec![1], vec![2]));
    }

    #[test]
    fn nothing_begins_twice() {
        let mut queue = JobQueue::new(KnownJobs::default());
        let (job, now) = (definition(1, 1), clock::instant());
        queue.take(&defined(0, &job)).unwrap();
        queue.take(&defined(1, &job)).unwrap();
        assert_eq!((ready(&queue, now), offsets(queue.take_passed())), (vec![0], vec![1]));
        // A new owner knows what was written, and reads some of it once more.
        let (first, second) = (
            JobProgress::begun(job.job_id, 1),
            JobProgress { cursor: Some("2".into()), ..JobProgress::begun(job.job_id, 1) },
        );
        let mut known = KnownJobs::default();
        for record in [defined(0, &job), progressed(3, &first), progressed(5, &second)] {
            known.take(&record).unwrap();
        }
        let mut queue = JobQueue::new(known);
        queue.take(&defined(2, &definition(2, 1))).unwrap();
        assert!(ready(&queue, now).is_empty(), "the other is under way, wherever it stands");
        for record in [defined(1, &job), progressed(3, &first), progressed(5, &second)] {
            queue.take(&record).unwrap();
        }
        assert_eq!((ready(&queue, now), offsets(queue.take_passed())), (vec![5], vec![1, 3]));
    }
}
