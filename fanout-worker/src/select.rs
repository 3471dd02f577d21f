//! Which application, which subscriptions: what the snapshot says about an event.

use std::sync::Arc;

use catalog::{Snapshot, Subscription};
use schemas::control::UnknownEventTypes;
use schemas::event::StringMap;
use schemas::header;
use schemas::ids::ApplicationId;
use schemas::rejected::RejectReason;

use crate::sources::{Event, Rejection};

/// The application of an event, if it exists and takes this type.
pub(crate) fn application(snapshot: &Snapshot, event: &Event<'_>) -> Result<ApplicationId, Rejection> {
    let Some(application) = snapshot.application(&event.application) else {
        let detail = format!("no application has the id or uid `{}`", event.application);
        return Err(Rejection::new(RejectReason::UnknownApplication, detail));
    };
    let id = application.application_id;
    let is_welcome = match application.unknown_event_types {
        // Only the control plane writes `control`, so it is the one that declares what it sees in `attempts`.
        UnknownEventTypes::Accept | UnknownEventTypes::Declare => true,
        UnknownEventTypes::Reject => snapshot.event_type(id, &event.event_type).is_some(),
    };
    if is_welcome {
        Ok(id)
    } else {
        let detail = format!("event type `{}` is not declared in application {id}", event.event_type);
        Err(Rejection::new(RejectReason::UnknownEventType, detail))
    }
}

/// Appends the subscriptions an event is for.
pub(crate) fn subscriptions(
    snapshot: &Snapshot,
    application: ApplicationId,
    event: &Event<'_>,
    out: &mut Vec<Arc<Subscription>>,
) -> Result<(), Rejection> {
    let labels = string_map(header::LABELS, event.labels)?;
    // Nobody matches by metadata, but whoever reads it later must not find anything else.
    string_map(header::METADATA, event.metadata)?;
    snapshot.matches(application, &event.event_type, &labels, out);
    Ok(())
}

fn string_map(name: &str, json: Option<&[u8]>) -> Result<StringMap, Rejection> {
    json.map_or_else(|| Ok(StringMap::new()), serde_json::from_slice).map_err(|error| {
        Rejection::new(RejectReason::InvalidAttribute, format!("`{name}` is not a JSON object of strings: {error}"))
    })
}
