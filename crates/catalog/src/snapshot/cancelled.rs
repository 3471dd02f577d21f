//! Jobs that were cancelled while copies of them were queued. Nothing else depends on them: they are in no digest, so that a build that
//! does not know them has the same, and are bounded by count instead of by weights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::control::{CancelledJob, ControlKey};
use schemas::ids::{ApplicationId, JobId};

use super::Snapshot;

#[derive(Debug, Default)]
pub(super) struct CancelledTable {
    by_id: BTreeMap<(ApplicationId, JobId), Arc<CancelledJob>>,
    /// All of them, oldest first.
    by_age: BTreeSet<(i64, ApplicationId, JobId)>,
    /// How often one came.
    came: u64,
}

// === impl CancelledTable ===

impl CancelledTable {
    pub(super) fn put(&mut self, job: Arc<CancelledJob>) {
        self.remove(job.application_id, job.job_id);
        self.by_age.insert((job.cancelled_ms, job.application_id, job.job_id));
        self.by_id.insert((job.application_id, job.job_id), job);
        self.came += 1;
    }

    pub(super) fn remove(&mut self, application: ApplicationId, id: JobId) {
        if let Some(former) = self.by_id.remove(&(application, id)) {
            self.by_age.remove(&(former.cancelled_ms, application, id));
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// A job of an application, if it was cancelled while copies of it were queued.
    #[must_use]
    pub fn cancelled_job(&self, application: ApplicationId, id: JobId) -> Option<&Arc<CancelledJob>> {
        self.cancelled.by_id.get(&(application, id))
    }

    /// Those of an application.
    pub fn cancelled_jobs(&self, application: ApplicationId) -> impl Iterator<Item = &Arc<CancelledJob>> {
        let all = (application, JobId(uuid::Uuid::nil()))..=(application, JobId(uuid::Uuid::max()));
        self.cancelled.by_id.range(all).map(|(_, job)| job)
    }

    /// How often a cancelled job came: another number than before says that what waits is to be looked at again.
    #[must_use]
    pub fn cancelled_came(&self) -> u64 {
        self.cancelled.came
    }

    /// Those whose time is over at `now_ms`, oldest first, at most so many.
    #[must_use]
    pub fn expired_cancelled_jobs(&self, now_ms: i64, limit: usize) -> Vec<ControlKey> {
        let of = |(_, application, id): &(i64, ApplicationId, JobId)| self.cancelled_job(*application, *id);
        let expired = self.cancelled.by_age.iter().filter_map(of).take_while(|job| !job.is_kept(now_ms)).take(limit);
        expired.map(|job| ControlKey::CancelledJob(job.application_id, job.job_id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use schemas::control::CANCELLED_MS;
    use uuid::Uuid;

    use super::*;

    fn job(application: u128, number: u128, cancelled_ms: i64) -> Arc<CancelledJob> {
        let (application_id, job_id) = (ApplicationId(Uuid::from_u128(application)), JobId(Uuid::from_u128(number)));
        Arc::new(CancelledJob { application_id, job_id, cancelled_ms })
    }

    #[test]
    fn cancelled_jobs_are_found_by_application_and_id_until_they_are_removed() {
        let mut snapshot = Snapshot::default();
        for it in [job(1, 1, 30), job(1, 2, 20), job(2, 3, 10), job(1, 1, 30)] {
            snapshot.cancelled.put(it);
        }
        let (one, other) = (ApplicationId(Uuid::from_u128(1)), ApplicationId(Uuid::from_u128(2)));
        let id = |number| JobId(Uuid::from_u128(number));
        assert!(snapshot.cancelled_job(one, id(1)).is_some());
        assert!(snapshot.cancelled_job(other, id(1)).is_none(), "it is another application's");
        assert_eq!((snapshot.cancelled_jobs(one).count(), snapshot.cancelled_came()), (2, 4));
        let expired = |now_ms, limit| snapshot.expired_cancelled_jobs(now_ms, limit);
        assert!(expired(CANCELLED_MS, 10).is_empty());
        assert_eq!(expired(20 + CANCELLED_MS, 10).len(), 2);
        assert_eq!(expired(20 + CANCELLED_MS, 1), [ControlKey::CancelledJob(other, id(3))]);
        let digest = snapshot.digest();
        snapshot.cancelled.remove(one, id(1));
        assert!(snapshot.cancelled_job(one, id(1)).is_none());
        assert_eq!(snapshot.cancelled.by_age.len(), 2);
        assert_eq!(snapshot.digest(), digest, "a build that does not know them has the same");
    }
}
