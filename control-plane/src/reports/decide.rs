//! What a worker's report leads to. Pure: the report and the snapshot in, the change out.
//!
//! | report | what is done | unless |
//! |---|---|---|
//! | endpoint gone | the subscription is disabled, `gone` | it was changed since, is disabled or deleted |
//! | failing | the subscription is disabled, `failing` | the same |
//! | undeclared | the event type is declared | it is there, its application does not want it, it is no name, there are too many |
//!
//! "Changed since" compares the report's time with the change's: whoever enables a subscription again (or mends its target) is
//! not told off by what was said before. So acting twice on one report does no harm.

use catalog::Snapshot;
use schemas::attempt::{Kind, Lifecycle};
use schemas::control::{Application, ControlObject, EventType, Limits, Subscription, UnknownEventTypes};
use schemas::event_type::EventTypeName;
use schemas::ids::{ApplicationId, OrganizationId, SubscriptionId};

use crate::limits;
use crate::store::{Decision, Moment};

/// Event types of an application that may come to be on sight, whatever its limits say: a producer with a mistake in its types
/// must not fill the catalog.
const MAX_ON_SIGHT: usize = 10_000;
/// Bytes of a sentence that is kept.
const MAX_DETAIL: usize = 500;

/// A report that is to be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A subscription's endpoint is not to be called any more.
    Disable { subscription: SubscriptionId, at_ms: i64, why: Why, detail: String },
    /// An event type was seen that is not declared.
    Declare { application: ApplicationId, event_type: String },
}

/// Why a subscription is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Gone,
    Failing,
}

/// What came of it. The words stand in the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Disabled,
    Declared,
    /// Things have changed since, or it was done already.
    Outdated,
    /// No name that an application may have.
    Unfit,
    /// Too many, or too many at once.
    Limited,
}

/// What a record's kind is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concern {
    /// Nothing: most are such.
    Nothing,
    /// Nobody knows: a newer build wrote it.
    Unknown,
    /// The operator may be told of it; nothing is changed for it.
    ToTell,
    /// A subscription is disabled.
    Disables(Why),
    /// An event type is declared.
    Declares,
}

/// What the first bytes of a lifecycle record say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstLook {
    /// Nothing that concerns us: most are such.
    Passed,
    /// A newer build wrote it.
    Unknown,
    /// It is to be decoded: it is acted on, the operator may be told of it, or it is no lifecycle record and says so then.
    Decoded,
}

// === impl Concern ===

impl Concern {
    /// The one list of kinds: whoever adds a kind says here what it is to us.
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::EndpointGone => Self::Disables(Why::Gone),
            Kind::Failing => Self::Disables(Why::Failing),
            Kind::Undeclared => Self::Declares,
            Kind::Recovered | Kind::DeadLettered => Self::ToTell,
            Kind::Unknown => Self::Unknown,
            Kind::Matched
            | Kind::Repeat
            | Kind::Rejected
            | Kind::FilterFailed
            | Kind::Attempted
            | Kind::Parked
            | Kind::Delivered
            | Kind::Cancelled
            | Kind::TriedOnce
            | Kind::Target
            | Kind::Redriven
            | Kind::Discarded
            | Kind::Erased => Self::Nothing,
        }
    }
}

// === impl FirstLook ===

impl FirstLook {
    /// Looks at a record's value; nothing is decoded.
    pub(super) fn of(value: &[u8]) -> Self {
        match Kind::peek(value).map(Concern::of) {
            Some(Concern::Nothing) => Self::Passed,
            Some(Concern::Unknown) => Self::Unknown,
            Some(Concern::ToTell | Concern::Disables(_) | Concern::Declares) | None => Self::Decoded,
        }
    }
}

// === impl Report ===

impl Report {
    /// `None`: nothing that concerns us.
    pub(super) fn of(lifecycle: &Lifecycle<'_>) -> Option<Self> {
        let why = match Concern::of(lifecycle.kind) {
            Concern::Disables(why) => why,
            Concern::Declares => {
                let event_type = lifecycle.event_type.as_deref()?.to_owned();
                return Some(Self::Declare { application: lifecycle.application_id?, event_type });
            }
            Concern::Nothing | Concern::Unknown | Concern::ToTell => return None,
        };
        let detail = lifecycle.detail.as_deref().unwrap_or_else(|| why.sentence());
        Some(Self::Disable {
            subscription: lifecycle.subscription_id?,
            at_ms: lifecycle.at_ms,
            why,
            detail: cut(detail),
        })
    }

    /// The label in the metric.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Disable { why, .. } => why.as_str(),
            Self::Declare { .. } => "undeclared",
        }
    }

    /// The action in the audit.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Self::Disable { .. } => "subscription.disable",
            Self::Declare { .. } => "event_type.declare",
        }
    }

    /// Whether any state that comes after this snapshot's agrees that there is nothing to do: no write is needed to say so.
    pub(super) fn is_settled(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Disable { subscription, at_ms, .. } => {
                snapshot.subscription(*subscription).is_some_and(|found| found.updated_ms() >= *at_ms)
            }
            Self::Declare { application, event_type } => {
                EventTypeName::parse(event_type).is_err() || snapshot.event_type(*application, event_type).is_some()
            }
        }
    }

    /// Whether what it asks for is more than there may be: as things stand it is not asked of the store, and the fan-out says it
    /// again later.
    pub(super) fn is_beyond(&self, snapshot: &Snapshot, instance: &Limits) -> bool {
        let Self::Declare { application, .. } = self else { return false };
        snapshot
            .application_by_id(*application)
            .is_some_and(|found| is_wanted(found) && is_full(snapshot, found, instance))
    }

    /// Whose it is; `None`: of an organization that is not known any more.
    pub(super) fn organization(&self, snapshot: &Snapshot) -> Option<OrganizationId> {
        let application = match self {
            Self::Disable { subscription, .. } => snapshot.subscription(*subscription)?.application(),
            Self::Declare { application, .. } => *application,
        };
        snapshot.application_by_id(application).map(|it| it.organization_id)
    }

    /// What is written.
    pub(super) fn decide(&self, snapshot: &Snapshot, moment: Moment, instance: &Limits) -> Decision<Outcome> {
        match self {
            Self::Disable { subscription, at_ms, why, detail } => {
                let Some(found) = snapshot.subscription(*subscription) else {
                    return Decision::nothing(Outcome::Outdated);
                };
                if !found.is_enabled() || found.updated_ms() >= *at_ms {
                    return Decision::nothing(Outcome::Outdated);
                }
                let object = disabled(found.object(), *why, detail, moment);
                Decision::put(ControlObject::Subscription(Box::new(object)), Outcome::Disabled)
            }
            Self::Declare { application, event_type } => declare(*application, event_type, snapshot, moment, instance),
        }
    }
}

fn disabled(mut object: Subscription, why: Why, detail: &str, moment: Moment) -> Subscription {
    object.is_enabled = false;
    object.disabled_reason = Some(why.as_str().to_owned());
    object.disabled_detail = Some(detail.to_owned());
    object.disabled_ms = Some(moment.now_ms);
    object.cancel_before = Some(moment.end);
    // All of them are cancelled by that.
    object.skipped.clear();
    object.hurried.clear();
    object.updated_ms = moment.now_ms;
    object
}

fn declare(
    application: ApplicationId,
    event_type: &str,
    snapshot: &Snapshot,
    moment: Moment,
    instance: &Limits,
) -> Decision<Outcome> {
    let Ok(name) = EventTypeName::parse(event_type) else { return Decision::nothing(Outcome::Unfit) };
    let Some(found) = snapshot.application_by_id(application) else { return Decision::nothing(Outcome::Outdated) };
    if !is_wanted(found) || snapshot.event_type(application, event_type).is_some() {
        return Decision::nothing(Outcome::Outdated);
    }
    if is_full(snapshot, found, instance) {
        return Decision::nothing(Outcome::Limited);
    }
    let object = EventType::new(application, name, moment.now_ms);
    Decision::put(ControlObject::EventType(object), Outcome::Declared)
}

fn is_wanted(application: &Application) -> bool {
    application.unknown_event_types == UnknownEventTypes::Declare
}

/// Whether an application has as many event types as come to be on sight.
fn is_full(snapshot: &Snapshot, application: &Application, instance: &Limits) -> bool {
    snapshot.event_type_count(application.application_id) >= MAX_ON_SIGHT
        || limits::event_type(snapshot, application, instance).is_err()
}

/// At most [`MAX_DETAIL`] bytes, whole characters.
fn cut(text: &str) -> String {
    let end = text.char_indices().map(|(at, character)| at + character.len_utf8()).take_while(|end| *end <= MAX_DETAIL);
    text.get(..end.last().unwrap_or(0)).unwrap_or_default().to_owned()
}

// === impl Why ===

impl Why {
    /// The word in `disabled_reason`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Gone => "the endpoint answered 410, or asked to be disabled",
            Self::Failing => "nothing was delivered for longer than the subscription's disable_after",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Declared => "declared",
            Self::Outdated => "outdated",
            Self::Unfit => "unfit",
            Self::Limited => "limited",
        }
    }
}

#[cfg(test)]
mod tests;
