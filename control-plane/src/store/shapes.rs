//! What a release may write beside others: nothing in place of what a newer one wrote, and nothing that a process which runs could not
//! read whole (`schemas::control::shape`).
//!
//! Looked at inside the decision, as weights are, so that no handler can forget it. What is removed is not looked at: nothing of it
//! stays that could lack something, and a token has to be ended whoever wrote it.

use catalog::Snapshot;
use chassis::config::ByteLimits;
use schemas::control::{ControlObject, shape};
use schemas::problem::{Code, ProblemId};

use crate::health::{Instances, ShapeReaders};
use crate::problem::{Problem, unavailable};
use crate::store::Change;

/// What every write is held to, whatever its route.
#[derive(Clone, Debug)]
pub(crate) struct WriteRules {
    pub(super) bytes: ByteLimits,
    shapes: ShapeRule,
}

#[derive(Clone, Debug)]
struct ShapeRule {
    /// Who runs.
    instances: Instances,
    /// Which shape an object needs.
    shape: fn(&ControlObject) -> u8,
}

// === impl WriteRules ===

impl WriteRules {
    pub(crate) fn new(bytes: ByteLimits, instances: Instances) -> Self {
        Self { bytes, shapes: ShapeRule { instances, shape: ControlObject::shape } }
    }

    /// Refuses changes that would lose something, here or at others.
    pub(super) fn check_shapes(&self, snapshot: &Snapshot, changes: &[Change], now_ms: i64) -> Result<(), Problem> {
        changes.iter().filter_map(Change::put).try_for_each(|object| self.shapes.check(snapshot, object, now_ms))
    }
}

// === impl ShapeRule ===

impl ShapeRule {
    fn check(&self, snapshot: &Snapshot, object: &ControlObject, now_ms: i64) -> Result<(), Problem> {
        let key = object.key();
        if let Some(why) = snapshot.newer(&key) {
            let detail = format!(
                "{key} was written by a newer release: {why}. This control plane would lose that, so it does not change it: upgrade \
                 all control planes"
            );
            return Err(conflict(Code::NewerVersion, detail));
        }
        let shape = (self.shape)(object);
        if shape == shape::FIRST {
            return Ok(());
        }
        match self.instances.read(shape, now_ms) {
            ShapeReaders::All => Ok(()),
            ShapeReaders::Unknown => {
                Err(unavailable("which processes run is not known yet, and what is written is new"))
            }
            ShapeReaders::NotThis(older) => {
                let (role, instance, reads) = (&older.role, &older.instance, older.reads());
                let version = older.version.as_deref().unwrap_or("unknown");
                let detail = format!(
                    "{key} would have shape {shape}, and {role} {instance} (version {version}) reads shapes up to {reads}: upgrade it, or \
                     stop it, first"
                );
                Err(conflict(Code::OlderInstance, detail))
            }
        }
    }
}

fn conflict(code: Code, detail: String) -> Problem {
    Problem::new(ProblemId::Validation, detail).with_status(409).with_code(code)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use catalog::usage::HearsStatus as _;
    use chassis::clock;
    use schemas::status::Status;

    use super::*;
    use crate::store::tests::{organization, store};
    use crate::store::{Decision, Moment, Store};

    /// A store for which organizations called `new` have the second shape, and what it knows of processes.
    fn two_shapes() -> (Store, Instances) {
        let (mut store, instances) = (store(vec![]), Instances::default());
        let shape = |object: &ControlObject| {
            let is_new = matches!(object, ControlObject::Organization(it) if it.name == "new");
            shape::FIRST + u8::from(is_new)
        };
        let inner = Arc::get_mut(&mut store.inner).unwrap();
        inner.rules.shapes = ShapeRule { instances: instances.clone(), shape };
        (store, instances)
    }

    async fn put(store: &Store, name: &'static str) -> Result<(), Problem> {
        let rule = move |_: &Snapshot, _: Moment| Ok(Decision::put(organization(1, name), ()));
        store.write("test".to_owned(), rule).await
    }

    fn says(instances: &Instances, instance: &str, reads_shape: Option<u8>, at_ms: i64) {
        let status = Status { reads_shape, ..Status::new("delivery", instance, at_ms) };
        instances.hears(&Status::key("delivery", instance), Some(&status));
    }

    #[tokio::test]
    async fn nothing_new_is_written_while_somebody_runs_who_could_not_read_it() {
        let (store, instances) = two_shapes();
        put(&store, "old").await.unwrap();
        let problem = put(&store, "new").await.unwrap_err();
        assert_eq!(problem.status, 503, "who runs is not known yet");
        instances.heard_all();
        let now_ms = clock::now_ms();
        says(&instances, "new-0", Some(shape::FIRST + 1), now_ms);
        says(&instances, "old-7", None, now_ms);
        let problem = put(&store, "new").await.unwrap_err();
        assert_eq!((problem.status, problem.code), (409, Some(Code::OlderInstance)));
        assert!(problem.detail.contains("delivery old-7"), "{}", problem.detail);
        put(&store, "old").await.unwrap();
        // One that has been silent does not run.
        says(&instances, "old-7", None, now_ms - 600_000);
        put(&store, "new").await.unwrap();
        says(&instances, "old-8", Some(shape::FIRST), now_ms);
        assert_eq!(put(&store, "new").await.unwrap_err().status, 409);
        instances.hears("delivery/old-8", None);
        put(&store, "new").await.unwrap();
    }
}
