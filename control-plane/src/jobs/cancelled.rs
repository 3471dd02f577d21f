//! What workers are told of a job that is cancelled while copies of it may be queued: that none of them is sent. Pure.

use catalog::Snapshot;
use schemas::control::{CancelledJob, ControlKey, ControlObject, MAX_CANCELLED_JOBS};
use schemas::jobs::{JobDefinition, JobKind};

use super::known::KnownJob;
use crate::store::{Change, Decision, Moment};

/// Whether copies of a job may be queued at workers.
pub(super) fn has_copies(job: &KnownJob) -> bool {
    let has_written = job.progress.as_ref().is_some_and(|progress| progress.counts.written > 0);
    let is_sent = match job.definition.kind {
        JobKind::Replay | JobKind::Retry => true,
        // Its letter is said to be redriven with the copy: one that ended so would be neither sent nor open again.
        JobKind::Redrive => false,
        // What a backfill writes is what the fan-out would have written, and nothing tells it from that.
        JobKind::Backfill | JobKind::Discard | JobKind::RetryRejected | JobKind::Unknown => false,
    };
    is_sent && has_written
}

/// Says once that a job is cancelled. Where an application has too many that are, the oldest goes.
pub(super) fn decide(snapshot: &Snapshot, job: &JobDefinition, moment: Moment) -> Decision<()> {
    let (application_id, job_id) = (job.application_id, job.job_id);
    let is_told = snapshot.cancelled_job(application_id, job_id).is_some();
    if is_told || snapshot.application_by_id(application_id).is_none() {
        // What is queued of an application that is gone is cancelled with its subscriptions.
        return Decision::nothing(());
    }
    let told = CancelledJob { application_id, job_id, cancelled_ms: moment.now_ms };
    let mut changes = vec![Change::Put(ControlObject::CancelledJob(told))];
    if snapshot.cancelled_jobs(application_id).count() >= MAX_CANCELLED_JOBS {
        let oldest = snapshot.cancelled_jobs(application_id).min_by_key(|it| (it.cancelled_ms, it.job_id));
        let key = |it: &std::sync::Arc<CancelledJob>| ControlKey::CancelledJob(application_id, it.job_id);
        changes.extend(oldest.map(key).map(Change::Remove));
    }
    Decision::of(changes, ())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use catalog::Catalog;
    use schemas::control::Application;
    use schemas::ids::{ApplicationId, JobId, OrganizationId};
    use schemas::jobs::JobProgress;
    use uuid::Uuid;

    use super::super::known::tests::definition;
    use super::*;

    fn catalog(cancelled: usize) -> Catalog {
        let vault = Arc::new(vault::Vault::new(&[vault::EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let application = definition(1, 1).application_id;
        let organization = OrganizationId(Uuid::from_u128(9));
        let shop = ControlObject::Application(Application::new(application, organization, "shop", 0));
        let of = |number: usize| {
            let job_id = JobId(Uuid::from_u128(1_000 + number as u128));
            let cancelled_ms = i64::try_from(number).unwrap();
            ControlObject::CancelledJob(CancelledJob { application_id: application, job_id, cancelled_ms })
        };
        Catalog::of([shop].into_iter().chain((0..cancelled).map(of)), vault)
    }

    fn keys(catalog: &Catalog, job: &JobDefinition) -> Vec<String> {
        let decided = decide(&catalog.read(), job, Moment { end: 0, now_ms: 5 });
        decided.changes.iter().map(|change| change.key().to_string()).collect()
    }

    #[test]
    fn workers_are_told_once_of_a_job_of_an_application_that_is_there_and_of_so_many_at_most() {
        let job = definition(1, 1);
        let key = format!("cancelled_job/{}/{}", job.application_id, job.job_id);
        assert_eq!(keys(&catalog(0), &job), std::slice::from_ref(&key));
        assert_eq!(keys(&catalog(MAX_CANCELLED_JOBS - 1), &job), std::slice::from_ref(&key));
        let oldest = format!("cancelled_job/{}/{}", job.application_id, Uuid::from_u128(1_000));
        assert_eq!(keys(&catalog(MAX_CANCELLED_JOBS), &job), [key, oldest]);
        let told = JobDefinition { job_id: JobId(Uuid::from_u128(1_000)), ..job.clone() };
        assert!(keys(&catalog(1), &told).is_empty());
        let gone = JobDefinition { application_id: ApplicationId(Uuid::from_u128(77)), ..job };
        assert!(keys(&catalog(1), &gone).is_empty());
    }

    #[test]
    fn nobody_is_told_of_a_job_that_has_written_nothing_to_send() {
        let of = |kind, written| {
            let mut progress = JobProgress::begun(definition(1, 1).job_id, 1);
            progress.counts.written = written;
            let definition = Arc::new(JobDefinition { kind, ..definition(1, 1) });
            has_copies(&KnownJob { definition, progress: Some(progress) })
        };
        assert!(of(JobKind::Replay, 1) && of(JobKind::Retry, 1) && !of(JobKind::Replay, 0));
        assert!(
            !of(JobKind::Redrive, 7)
                && !of(JobKind::Backfill, 7)
                && !of(JobKind::Discard, 7)
                && !of(JobKind::RetryRejected, 7)
        );
        assert!(!has_copies(&KnownJob::asked(definition(1, 1))), "it has not begun");
    }
}
