//! A job that was cancelled while copies of it were queued: workers end these without sending them, and retries of it, too.

use serde::{Deserialize, Serialize};

use crate::ids::{ApplicationId, JobId};

/// How long it is kept, ms: as long as a job about many is after its end. No copy lives for longer.
pub const CANCELLED_MS: i64 = 30 * 86_400_000;
/// Those of an application that are kept; beyond it the oldest goes.
pub const MAX_CANCELLED_JOBS: usize = 1_000;

/// One such job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelledJob {
    /// Whose it is.
    pub application_id: ApplicationId,
    /// Its id, and the generation of what it has written.
    pub job_id: JobId,
    /// When it was cancelled, Unix ms.
    pub cancelled_ms: i64,
}

// === impl CancelledJob ===

impl CancelledJob {
    /// Whether it still stands at `now_ms`.
    #[must_use]
    pub fn is_kept(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.cancelled_ms) < CANCELLED_MS
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::control::{ControlKey, ControlObject};

    #[test]
    fn it_stands_under_its_application_and_its_job_for_thirty_days() {
        let (application_id, job_id) = (ApplicationId(Uuid::from_u128(1)), JobId(Uuid::from_u128(2)));
        let job = CancelledJob { application_id, job_id, cancelled_ms: 1_000 };
        let object = ControlObject::CancelledJob(job.clone());
        assert_eq!(object.key().to_string(), format!("cancelled_job/{application_id}/{job_id}"));
        assert_eq!(ControlKey::parse(&object.key().to_string()), Some(object.key()));
        assert_eq!(ControlObject::decode(&object.key(), &object.encode().unwrap()).unwrap(), object);
        assert!(job.is_kept(999 + CANCELLED_MS) && !job.is_kept(1_000 + CANCELLED_MS));
    }
}
