//! A part of a job that is being put together: what is written, and how far the job is once it is. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::clock;
use delivery_log::{Day, EndedOnDay, EndedQuery};
use schemas::ids::SubscriptionId;
use schemas::jobs::{JobProgress, JobSkip, JobState, JobWritten};
use schemas::record::OutRecord;

use super::{NotNow, StepOutcome};
use crate::jobs::known::KnownJob;
use crate::jobs::under_way::JobBound;

/// See the module.
#[derive(Debug)]
pub(super) struct JobPart {
    pub(super) progress: JobProgress,
    /// Bytes of what is written.
    pub(super) bytes: usize,
    outputs: Vec<OutRecord>,
    /// Whom deliveries among them are for.
    goals: Vec<SubscriptionId>,
    /// What bounds it; `None`: it is about one event or writes no deliveries.
    under_way: Option<JobBound>,
    /// More is known to have ended for good than was written down.
    is_settled: bool,
}

/// Where a part was before something was put into it.
pub(super) struct PartMark {
    outputs: usize,
    goals: usize,
    bytes: usize,
    progress: JobProgress,
}

/// The job as the log can tell how much of it is under way, whose first day is this: what ended on days that it has given up is told by
/// nobody any more, so all of what was written before counts as ended. At worst once as much is under way as may be, and once again.
pub(super) fn with_known_days(job: &KnownJob, first: Option<Day>) -> KnownJob {
    let mut job = job.clone();
    let (Some(first), Some(progress)) = (first, job.progress.as_mut()) else { return job };
    let settled = progress.written().ended_to_day().and_then(Day::numbered);
    if settled.map_or_else(|| Day::of(progress.started_ms), Day::next) < first {
        let mut written = JobWritten::default();
        written.settle(first.minus(1).number(), 0, &BTreeMap::new());
        progress.written_to = Some(written);
    }
    job
}

/// What of a job is to be known to have ended, before more of it is written.
pub(super) fn ended_query(job: &KnownJob) -> EndedQuery {
    let written = job.progress.as_ref().map(JobProgress::written).unwrap_or_default();
    let began_ms = job.progress.as_ref().map_or(job.definition.created_ms, |progress| progress.started_ms);
    let settled = written.ended_to_day().and_then(Day::numbered);
    EndedQuery {
        application: job.definition.application_id,
        generation: job.definition.job_id.0,
        subscriptions: written.goals().collect(),
        // One day more, for clocks differ.
        since: settled.map_or_else(|| Day::of(began_ms).minus(1), Day::next),
    }
}

// === impl JobPart ===

impl JobPart {
    /// Where a job goes on, or begins.
    pub(super) fn of(job: &KnownJob) -> Self {
        let begun = || JobProgress::begun(job.definition.job_id, clock::now_ms());
        let progress = job.progress.clone().unwrap_or_else(begun).going_on();
        Self { progress, bytes: 0, outputs: Vec::new(), goals: Vec::new(), under_way: None, is_settled: false }
    }

    /// The same, of a job that may have so much under way as its rate allows, where this has ended.
    pub(super) fn bounded(mut self, ended: Vec<EndedOnDay>, rate: u32, now_ms: i64) -> Self {
        let mut written = self.progress.written();
        let before = written.ended_to_day();
        self.under_way = Some(JobBound::new(&mut written, ended, rate, now_ms));
        self.is_settled = written.ended_to_day() != before;
        self.progress.written_to = Some(written);
        self
    }

    /// Records so far.
    pub(super) fn outputs(&self) -> usize {
        self.outputs.len()
    }

    pub(super) fn write(&mut self, record: OutRecord) {
        self.bytes += record.size();
        self.outputs.push(record);
    }

    /// A delivery.
    pub(super) fn deliver(&mut self, record: OutRecord, to: SubscriptionId) {
        self.progress.counts.written += 1;
        self.progress.written_to.get_or_insert_default().add(to);
        self.goals.push(to);
        self.write(record);
    }

    pub(super) fn skip(&mut self, why: JobSkip) {
        self.progress.counts.skip(why);
    }

    /// Whether anything more may be under way, of one that all is for where it is known.
    ///
    /// # Errors
    /// What the job waits for.
    pub(super) fn has_room(&self, goal: Option<SubscriptionId>) -> Result<(), NotNow> {
        match (&self.under_way, &self.progress.written_to) {
            (Some(under_way), Some(written)) => under_way.has_room(written, goal),
            _ => Ok(()),
        }
    }

    /// Where it is now.
    pub(super) fn mark(&self) -> PartMark {
        let progress = self.progress.clone();
        PartMark { outputs: self.outputs.len(), goals: self.goals.len(), bytes: self.bytes, progress }
    }

    /// Whether what was put in since may be under way, with all else. If not, it is taken out again.
    ///
    /// # Errors
    /// What the job waits for.
    pub(super) fn admit(&mut self, since: PartMark) -> Result<(), NotNow> {
        let admitted = match (&self.under_way, &since.progress.written_to, &self.progress.written_to) {
            (Some(under_way), Some(before), Some(after)) => under_way.admits(before, after, &self.goals[since.goals..]),
            _ => Ok(()),
        };
        if admitted.is_err() {
            self.outputs.truncate(since.outputs);
            self.goals.truncate(since.goals);
            (self.bytes, self.progress) = (since.bytes, since.progress);
        }
        admitted
    }

    /// Nothing of it can be written yet.
    ///
    /// # Errors
    /// Why. What has ended for good is written down beforehand, once a day: else it is forgotten with its day.
    pub(super) fn waits(self, why: NotNow) -> Result<StepOutcome, NotNow> {
        if !self.is_settled {
            return Err(why);
        }
        let progress = self.progress.waiting(&why);
        Ok(StepOutcome::Made { outputs: Vec::new(), progress, pause: Duration::ZERO })
    }

    /// The last part.
    pub(super) fn ended(self) -> StepOutcome {
        let progress = self.progress.ended(JobState::Done, clock::now_ms());
        StepOutcome::Made { outputs: self.outputs, progress, pause: Duration::ZERO }
    }

    /// The last part of a job that cannot be done.
    pub(super) fn failed(self, why: &str) -> StepOutcome {
        let progress = self.progress.ended(JobState::Failed, clock::now_ms());
        let progress = JobProgress { detail: Some(why.to_owned()), ..progress };
        StepOutcome::Made { outputs: Vec::new(), progress, pause: Duration::ZERO }
    }

    /// Another one follows, from here on.
    pub(super) fn followed(mut self, cursor: String, pause: Duration) -> StepOutcome {
        self.progress.cursor = Some(cursor);
        StepOutcome::Made { outputs: self.outputs, progress: self.progress, pause }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::record::Headers;
    use uuid::Uuid;

    use super::*;
    use crate::jobs::known::tests::definition;

    const NOW_MS: i64 = 1_795_608_000_000;

    fn delivery() -> OutRecord {
        let headers = Headers::default();
        OutRecord { topic: Arc::from("h.deliveries"), partition: None, key: None, value: Some("{}".into()), headers }
    }

    /// The next part, where so many are to be written for one, and this has ended.
    fn part(job: &mut KnownJob, count: usize, ended: Vec<EndedOnDay>) -> Result<usize, NotNow> {
        let goal = SubscriptionId(Uuid::from_u128(1));
        let mut part = JobPart::of(job).bounded(ended, 100, NOW_MS);
        let mut written = 0;
        while written < count {
            let mark = part.mark();
            part.progress.counts.found += 1;
            part.deliver(delivery(), goal);
            match part.admit(mark) {
                Ok(()) => written += 1,
                Err(why) if written == 0 => {
                    let StepOutcome::Made { outputs, progress, .. } = part.waits(why)? else { unreachable!() };
                    assert!(outputs.is_empty() && progress.state == JobState::Waiting);
                    job.progress = Some(progress);
                    return Ok(0);
                }
                Err(_full) => break,
            }
        }
        let StepOutcome::Made { outputs, progress, .. } = part.followed("7".into(), Duration::ZERO) else {
            unreachable!()
        };
        assert_eq!(
            (outputs.len(), progress.counts.found),
            (written, progress.counts.written),
            "what is not written is not found"
        );
        job.progress = Some(progress);
        Ok(written)
    }

    fn ended(day: Day, count: u64) -> Vec<EndedOnDay> {
        vec![EndedOnDay { day, all: count, of: BTreeMap::from([(SubscriptionId(Uuid::from_u128(1)), count)]) }]
    }

    #[test]
    fn a_job_whose_deliveries_do_not_end_stops_at_the_bound_and_goes_on_as_they_do() {
        let (mut job, today) = (KnownJob::asked(definition(1, 1)), Day::of(NOW_MS));
        assert_eq!(part(&mut job, 300, Vec::new()), Ok(300));
        assert_eq!(part(&mut job, 300, Vec::new()), Ok(200), "500 and no more");
        assert_eq!(ended_query(&job).subscriptions.len(), 1);
        let why = part(&mut job, 300, Vec::new()).unwrap_err();
        assert!(why.contains("500 of its deliveries to subscription 00000000-0000-0000-0000-000000000001"), "{why}");
        assert_eq!(part(&mut job, 300, ended(today, 7)), Ok(7));
        part(&mut job, 300, ended(today, 7)).unwrap_err();
        assert_eq!(job.progress.as_ref().unwrap().counts.written, 507);
        assert_eq!(job.progress.unwrap().written().total(), 507);
    }

    #[test]
    fn what_ended_on_days_that_the_log_has_given_up_holds_no_job() {
        let (mut job, today) = (KnownJob::asked(definition(1, 1)), Day::of(NOW_MS));
        let begun = JobProgress::begun(job.definition.job_id, NOW_MS - 40 * 86_400_000);
        let mut written = JobWritten::default();
        (0..500).for_each(|_| written.add(SubscriptionId(Uuid::from_u128(1))));
        job.progress = Some(JobProgress { written_to: Some(written), ..begun });
        // The first part may write down what ended; then it waits.
        let waits = |job: &KnownJob| {
            let mut job = job.clone();
            part(&mut job, 9, Vec::new()) != Ok(9) && part(&mut job, 9, Vec::new()).is_err()
        };
        assert!(waits(&job));
        let mut known = with_known_days(&job, Some(today.minus(30)));
        assert_eq!(part(&mut known, 600, Vec::new()), Ok(500));
        assert!(waits(&with_known_days(&known, Some(today.minus(30)))), "once");
        // One that an older build ran has written for nobody knows whom.
        let progress = job.progress.clone().unwrap();
        let counts = schemas::jobs::JobCounts { found: 10_000, written: 10_000, ..progress.counts.clone() };
        let untold = KnownJob { progress: Some(JobProgress { written_to: None, counts, ..progress }), ..job.clone() };
        assert_eq!(part(&mut with_known_days(&untold, Some(today.minus(30))), 9, Vec::new()), Ok(9));
        assert!(waits(&with_known_days(&job, Some(today.minus(40)))), "what began on a day that the log has");
    }

    #[test]
    fn a_job_that_waits_writes_down_what_ended_on_a_day_that_is_over() {
        let (mut job, today) = (KnownJob::asked(definition(1, 1)), Day::of(NOW_MS));
        let begun = JobProgress::begun(job.definition.job_id, NOW_MS - 86_400_000);
        let mut written = JobWritten::default();
        (0..600).for_each(|_| written.add(SubscriptionId(Uuid::from_u128(1))));
        job.progress = Some(JobProgress { written_to: Some(written), ..begun });
        assert_eq!(ended_query(&job).since, today.minus(2));
        assert_eq!(part(&mut job, 9, ended(today.minus(1), 60)), Ok(0));
        assert_eq!((ended_query(&job).since, job.progress.as_ref().unwrap().written().total()), (today, 540));
        part(&mut job, 9, Vec::new()).unwrap_err();
        assert_eq!(part(&mut job, 9, ended(today, 42)), Ok(2));
    }
}
