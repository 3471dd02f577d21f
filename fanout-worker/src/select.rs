//! Which type, which subscriptions: what the snapshot says about an event.

use std::sync::Arc;

use catalog::acceptance::{self, Unaccepted};
use catalog::{EventType, Snapshot, Subscription};
use schemas::control::{Application, UnknownEventTypes};
use schemas::event::StringMap;
use schemas::event_type::EventTypeName;
use schemas::header;
use schemas::identity::is_gateway_source;
use schemas::ids::ApplicationId;
use schemas::rejected::RejectReason;

use sources::{Event, Rejection};

/// The application of an event, and what it says about the event's type.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) application: ApplicationId,
    /// The type, where it is declared.
    pub(crate) event_type: Option<Arc<EventType>>,
    /// The type should be declared because an event has it.
    pub(crate) is_to_be_declared: bool,
}

// === impl Selected ===

impl Selected {
    /// An application with a type that nobody is to declare.
    pub(crate) fn undeclared(application: ApplicationId) -> Self {
        Self { application, event_type: None, is_to_be_declared: false }
    }
}

/// What an application says about an event's type, if it takes it.
pub(crate) fn event_type(
    snapshot: &Snapshot,
    application: &Application,
    event: &Event<'_>,
) -> Result<Selected, Rejection> {
    let event_type = acceptance::event_type(snapshot, application, &event.event_type).map_err(rejection)?;
    // Only the control plane writes `control`, so it is the one that declares what it is told. A topic's types may be such that
    // they can only be accepted.
    let is_to_be_declared = event_type.is_none()
        && application.unknown_event_types == UnknownEventTypes::Declare
        && EventTypeName::parse(&event.event_type).is_ok();
    Ok(Selected { application: application.application_id, event_type, is_to_be_declared })
}

/// Refuses a record of a source that says it came over HTTP: its ids would be those of other events.
pub(crate) fn source(application: ApplicationId, source: &str) -> Result<(), Rejection> {
    if is_gateway_source(application, source) {
        let detail = format!("`source` is `{source}`, which only what came over HTTP says");
        return Err(Rejection::new(RejectReason::InvalidAttribute, detail));
    }
    Ok(())
}

/// Refuses a payload that does not fit its type's schema.
pub(crate) fn schema(selected: &Selected, event: &Event<'_>) -> Result<(), Rejection> {
    // The gateway has checked its own before it said 201, and the schema may have changed since: accepted is accepted.
    match &selected.event_type {
        Some(event_type) if !is_gateway_source(selected.application, &event.source) => {
            acceptance::payload(event_type, &event.event_type, &event.payload).map_err(rejection)
        }
        _ => Ok(()),
    }
}

/// Appends the subscriptions an event is for, as far as its type and labels tell. Returns its labels.
pub(crate) fn subscriptions(
    snapshot: &Snapshot,
    application: ApplicationId,
    event: &Event<'_>,
    out: &mut Vec<Arc<Subscription>>,
) -> Result<StringMap, Rejection> {
    let labels = acceptance::string_map(header::LABELS, event.labels.as_deref()).map_err(rejection)?;
    // Nobody matches by metadata, but whoever reads it later must not find anything else.
    acceptance::string_map(header::METADATA, event.metadata.as_deref()).map_err(rejection)?;
    snapshot.matches(application, &event.event_type, &labels, out);
    Ok(labels)
}

fn rejection(unaccepted: Unaccepted) -> Rejection {
    Rejection::new(unaccepted.reason, unaccepted.detail)
}
