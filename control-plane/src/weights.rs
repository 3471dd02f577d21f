//! How many bytes objects may take: of an application, of an organization, of the instance. Every process holds all of them.
//!
//! Looked at inside the store's decision, whichever handler made it, so that none can forget it. What makes nothing heavier is
//! never refused: a limit that was lowered stands in nobody's way to delete. Nor is what only changes something by a little:
//! beyond a limit a dead endpoint is still disabled, and a token still ended.

use std::collections::BTreeMap;

use catalog::Snapshot;
use catalog::weights::{WeightOwner, weight};
use chassis::config::ByteLimits;
use schemas::control::{ControlObject, RetiredApplication};
use schemas::ids::OrganizationId;
use schemas::problem::{Code, ProblemId};

use crate::problem::{Problem, internal};
use crate::store::Change;

/// Bytes that an object which is there may grow by in one write, whatever the limits.
const SLACK: i64 = 1_024;

/// Refuses changes that would make something heavier than it may be.
pub(crate) fn check(snapshot: &Snapshot, changes: &[Change], limits: &ByteLimits) -> Result<(), Problem> {
    if changes.iter().all(|change| matches!(change, Change::Remove(_))) {
        return Ok(());
    }
    let (mut total, mut of_application, mut of_organization) = (0, BTreeMap::new(), BTreeMap::new());
    for change in changes {
        let key = change.key();
        let after = match change {
            Change::Put(object) => {
                let encoded =
                    object.encode().map_err(|error| internal("a control record could not be encoded", &error))?;
                weight(object, encoded.len())
            }
            Change::Remove(_) => 0,
        };
        let before = snapshot.weight_under(&key);
        let delta = i64::from(after) - i64::from(before);
        if before > 0 && (0..=SLACK).contains(&delta) {
            continue;
        }
        total += delta;
        let owner = match change {
            Change::Put(ControlObject::RetiredApplication(RetiredApplication { organization_id, .. })) => {
                Some(WeightOwner::Organization(*organization_id))
            }
            Change::Put(_) | Change::Remove(_) => snapshot.owner(&key),
        };
        let organization = match owner {
            Some(WeightOwner::Application(id)) => {
                *of_application.entry(id).or_insert(0) += delta;
                organization_of(snapshot, changes, id)
            }
            Some(WeightOwner::Organization(id)) => Some(id),
            None => None,
        };
        if let Some(id) = organization {
            *of_organization.entry(id).or_insert(0) += delta;
        }
    }
    for (id, delta) in of_application {
        refuse("this application", snapshot.weight_of(WeightOwner::Application(id)), delta, limits.application)?;
    }
    for (id, delta) in of_organization {
        refuse("its organization", snapshot.weight_of(WeightOwner::Organization(id)), delta, limits.organization)?;
    }
    refuse("this instance", snapshot.weight(), total, limits.instance)
}

/// The organization of an application that is there, or is being made.
fn organization_of(
    snapshot: &Snapshot,
    changes: &[Change],
    application: schemas::ids::ApplicationId,
) -> Option<OrganizationId> {
    let there = snapshot.application_by_id(application).map(|it| it.organization_id);
    there.or_else(|| {
        changes.iter().find_map(|change| match change {
            Change::Put(ControlObject::Application(it)) if it.application_id == application => Some(it.organization_id),
            Change::Put(_) | Change::Remove(_) => None,
        })
    })
}

fn refuse(whose: &str, there: u64, delta: i64, limit: u64) -> Result<(), Problem> {
    if delta <= 0 || there.saturating_add_signed(delta) <= limit {
        return Ok(());
    }
    let detail = format!(
        "the objects of {whose} would take more than {limit} bytes of every process's memory: make them smaller, or delete \
         what is not used"
    );
    Err(Problem::new(ProblemId::Validation, detail).with_code(Code::LimitReached))
}
