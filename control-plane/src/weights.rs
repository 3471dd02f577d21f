//! How many bytes objects may take: of an application, of an organization, of the instance. Every process holds all of them.
//!
//! Looked at inside the store's decision, whichever handler made it, so that none can forget it. What makes nothing heavier is
//! never refused: a limit that was lowered stands in nobody's way to delete. Nor is what only turns something off: beyond a limit a
//! dead endpoint is still disabled, and a token still ended. What changes an object by a little may go a sixteenth beyond a limit,
//! so that who has reached one can still mend a URL; every byte of it counts, so that nobody gets further in small steps.

use std::collections::BTreeMap;

use catalog::Snapshot;
use catalog::weights::{WeightOwner, weight};
use chassis::config::ByteLimits;
use schemas::control::{ApplicationSecret, ControlObject, RetiredApplication, ServiceToken, Subscription};
use schemas::ids::OrganizationId;
use schemas::problem::{Code, ProblemId};

use crate::problem::{Problem, internal};
use crate::store::Change;

/// Bytes by which an object that is there grows a little in one write.
const LITTLE: i64 = 1_024;
/// What grows a little may go beyond a limit by this part of it.
const BEYOND: u64 = 16;

/// What changes add to one sum.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    bytes: i64,
    /// Something is new, or grows by more than a little.
    is_large: bool,
}

/// Refuses changes that would make something heavier than it may be. `is_system`: the control plane makes them itself.
pub(crate) fn check(
    snapshot: &Snapshot,
    changes: &[Change],
    is_system: bool,
    limits: &ByteLimits,
) -> Result<(), Problem> {
    if changes.iter().all(|change| matches!(change, Change::Remove(_))) {
        return Ok(());
    }
    let mut total = Growth::default();
    let (mut of_application, mut of_organization) = (BTreeMap::new(), BTreeMap::new());
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
        let is_little = before > 0 && delta <= LITTLE;
        if is_little && delta >= 0 && (is_system || turns_off(snapshot, change)) {
            continue;
        }
        let grow = |sum: &mut Growth| sum.add(delta, is_little);
        grow(&mut total);
        let owner = match change {
            Change::Put(ControlObject::RetiredApplication(RetiredApplication { organization_id, .. })) => {
                Some(WeightOwner::Organization(*organization_id))
            }
            Change::Put(_) | Change::Remove(_) => snapshot.owner(&key),
        };
        let organization = match owner {
            Some(WeightOwner::Application(id)) => {
                grow(of_application.entry(id).or_default());
                organization_of(snapshot, changes, id)
            }
            Some(WeightOwner::Organization(id)) => Some(id),
            None => None,
        };
        if let Some(id) = organization {
            grow(of_organization.entry(id).or_default());
        }
    }
    for (id, growth) in of_application {
        refuse("this application", snapshot.weight_of(WeightOwner::Application(id)), growth, limits.application)?;
    }
    for (id, growth) in of_organization {
        refuse("its organization", snapshot.weight_of(WeightOwner::Organization(id)), growth, limits.organization)?;
    }
    refuse("this instance", snapshot.weight(), total, limits.instance)
}

// === impl Growth ===

impl Growth {
    fn add(&mut self, bytes: i64, is_little: bool) {
        self.bytes += bytes;
        self.is_large |= bytes > 0 && !is_little;
    }
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

/// Whether a change does nothing but turn off what is there: what that adds, it adds once.
fn turns_off(snapshot: &Snapshot, change: &Change) -> bool {
    let Change::Put(object) = change else { return false };
    match object {
        ControlObject::ServiceToken(new) => snapshot
            .service_token(new.token_id)
            .is_some_and(|it| ServiceToken { expires_ms: new.expires_ms, ..ServiceToken::clone(it) } == *new),
        ControlObject::ApplicationSecret(new) => snapshot
            .application_secret(new.application_id, new.secret_id)
            .is_some_and(|it| ApplicationSecret { expires_ms: new.expires_ms, ..ApplicationSecret::clone(it) } == *new),
        ControlObject::Subscription(new) if !new.is_enabled => {
            snapshot.subscription(new.subscription_id).is_some_and(|it| {
                let former = Subscription {
                    is_enabled: false,
                    disabled_ms: new.disabled_ms,
                    cancel_before: new.cancel_before,
                    updated_ms: new.updated_ms,
                    ..it.object()
                };
                former == **new
            })
        }
        ControlObject::Subscription(_)
        | ControlObject::Organization(_)
        | ControlObject::Application(_)
        | ControlObject::RetiredApplication(_)
        | ControlObject::Source(_)
        | ControlObject::SchemaRegistry(_)
        | ControlObject::KeptAnswer(_)
        | ControlObject::CancelledJob(_)
        | ControlObject::EventType(_) => false,
    }
}

fn refuse(whose: &str, there: u64, growth: Growth, limit: u64) -> Result<(), Problem> {
    let most = if growth.is_large { limit } else { limit.saturating_add(limit / BEYOND) };
    if growth.bytes <= 0 || there.saturating_add_signed(growth.bytes) <= most {
        return Ok(());
    }
    let detail = format!(
        "the objects of {whose} would take more than {limit} bytes of every process's memory: make them smaller, or delete \
         what is not used"
    );
    Err(Problem::new(ProblemId::Validation, detail).with_code(Code::LimitReached))
}
