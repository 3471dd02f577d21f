//! Which type, which subscriptions: what the snapshot says about an event.

use std::sync::Arc;

use catalog::schema::Unfit;
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
    let id = application.application_id;
    let event_type = snapshot.event_type(id, &event.event_type).map(Arc::clone);
    let is_to_be_declared = match (&event_type, application.unknown_event_types) {
        (Some(_), _) | (None, UnknownEventTypes::Accept) => false,
        // Only the control plane writes `control`, so it is the one that declares what it is told. A topic's types may be
        // such that they can only be accepted.
        (None, UnknownEventTypes::Declare) => EventTypeName::parse(&event.event_type).is_ok(),
        (None, UnknownEventTypes::Reject) => {
            let detail = format!("event type `{}` is not declared in application {id}", event.event_type);
            return Err(Rejection::new(RejectReason::UnknownEventType, detail));
        }
    };
    Ok(Selected { application: id, event_type, is_to_be_declared })
}

/// Refuses a payload that does not fit its type's schema.
pub(crate) fn schema(selected: &Selected, event: &Event<'_>) -> Result<(), Rejection> {
    let Some(event_type) = selected.event_type.as_ref().filter(|event_type| event_type.is_demanding()) else {
        return Ok(());
    };
    // The gateway has checked its own before it said 201, and the schema may have changed since: accepted is accepted.
    if is_gateway_source(selected.application, &event.source) {
        return Ok(());
    }
    event_type.check(&event.payload).map_err(|unfit| match unfit {
        Unfit::Mismatch(mismatch) => {
            let detail = format!("the payload does not fit the schema of `{}`: {mismatch}", event.event_type);
            Rejection::new(RejectReason::SchemaMismatch, detail)
        }
        costly @ Unfit::TooCostly { .. } => {
            let detail = format!("the payload cannot be checked with the schema of `{}`: {costly}", event.event_type);
            Rejection::new(RejectReason::SchemaTooCostly, detail)
        }
    })
}

/// Appends the subscriptions an event is for, as far as its type and labels tell. Returns its labels.
pub(crate) fn subscriptions(
    snapshot: &Snapshot,
    application: ApplicationId,
    event: &Event<'_>,
    out: &mut Vec<Arc<Subscription>>,
) -> Result<StringMap, Rejection> {
    let labels = string_map(header::LABELS, event.labels.as_deref())?;
    // Nobody matches by metadata, but whoever reads it later must not find anything else.
    string_map(header::METADATA, event.metadata.as_deref())?;
    snapshot.matches(application, &event.event_type, &labels, out);
    Ok(labels)
}

fn string_map(name: &str, json: Option<&[u8]>) -> Result<StringMap, Rejection> {
    json.map_or_else(|| Ok(StringMap::new()), serde_json::from_slice).map_err(|error| {
        Rejection::new(RejectReason::InvalidAttribute, format!("`{name}` is not a JSON object of strings: {error}"))
    })
}
