//! Whether an application takes an event of a topic, as far as its type, its labels and its payload tell. Pure: the fan-out rejects by
//! it, and whoever tries a source is told by it.

use std::sync::Arc;

use schemas::control::{Application, UnknownEventTypes};
use schemas::event::StringMap;
use schemas::ids::OrganizationId;
use schemas::rejected::RejectReason;

use uuid::Uuid;

use crate::schema::Unfit;
use crate::{EventType, Snapshot};

/// Why an event is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unaccepted {
    /// The word.
    pub reason: RejectReason,
    /// The sentence.
    pub detail: String,
}

/// The application that a record of a topic names. `installation`: whose uids records of `events` name; `source`: the organization of the
/// source that the topic is of, none: it is `events`.
#[must_use]
pub fn application<'a>(
    snapshot: &'a Snapshot,
    (installation, source): (OrganizationId, Option<OrganizationId>),
    id_or_uid: &str,
) -> Option<&'a Arc<Application>> {
    let found = match source {
        Some(organization) => snapshot.application_in(organization, id_or_uid),
        None if Uuid::parse_str(id_or_uid).is_ok() => snapshot.applications_called(id_or_uid).next(),
        None => snapshot.application_in(installation, id_or_uid),
    };
    // The control plane gives no id to a second organization; what another build wrote is not believed.
    found.filter(|it| {
        let retired = snapshot.retired_application(it.application_id);
        retired.is_none_or(|retired| retired.organization_id == it.organization_id)
    })
}

/// The event's type, where it is declared.
///
/// # Errors
/// It is not, and the application rejects such.
pub fn event_type(
    snapshot: &Snapshot,
    application: &Application,
    name: &str,
) -> Result<Option<Arc<EventType>>, Unaccepted> {
    let id = application.application_id;
    match (snapshot.event_type(id, name), application.unknown_event_types) {
        (None, UnknownEventTypes::Reject) => {
            let detail = format!("event type `{name}` is not declared in application {id}");
            Err(Unaccepted { reason: RejectReason::UnknownEventType, detail })
        }
        (known, _) => Ok(known.map(Arc::clone)),
    }
}

/// Whether a payload fits the schema of its type, if that has one.
///
/// # Errors
/// It does not, or checking it would take too long.
pub fn payload(event_type: &EventType, name: &str, payload: &[u8]) -> Result<(), Unaccepted> {
    if !event_type.is_demanding() {
        return Ok(());
    }
    event_type.check(payload).map_err(|unfit| match unfit {
        Unfit::Mismatch(mismatch) => {
            let detail = format!("the payload does not fit the schema of `{name}`: {mismatch}");
            Unaccepted { reason: RejectReason::SchemaMismatch, detail }
        }
        costly @ Unfit::TooCostly { .. } => {
            let detail = format!("the payload cannot be checked with the schema of `{name}`: {costly}");
            Unaccepted { reason: RejectReason::SchemaTooCostly, detail }
        }
    })
}

/// A JSON object of strings, as labels and metadata are; none: an empty one. `name`: of the attribute.
///
/// # Errors
/// It is something else.
pub fn string_map(name: &str, json: Option<&[u8]>) -> Result<StringMap, Unaccepted> {
    json.map_or_else(|| Ok(StringMap::new()), serde_json::from_slice).map_err(|error| {
        let detail = format!("`{name}` is not a JSON object of strings: {error}");
        Unaccepted { reason: RejectReason::InvalidAttribute, detail }
    })
}
