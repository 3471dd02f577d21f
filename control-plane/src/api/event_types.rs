//! Event types: declared by an idempotent upsert, in Hook0's three parts or by name.

use std::sync::Arc;

use axum::extract::{Path, State};
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::{ControlKey, ControlObject, EventType};
use schemas::event_type::EventTypeName;
use schemas::problem::Code;
use serde_json::{Value, json};

use super::{json, no_content};
use crate::auth::Principal;
use crate::body::{Fields, Json};
use crate::problem::{Answer, Problem, not_found};
use crate::query::Query;
use crate::state::App;
use crate::store::{Change, Decision};

const FIELDS: &[&str] =
    &["application_id", "service", "resource_type", "verb", "name", "description", "schema", "deprecated"];

pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let shown: Vec<Value> = {
        let snapshot = app.catalog().read();
        let application = principal.application(&snapshot, query.required("application_id")?)?;
        snapshot.event_types(application.application_id).map(|it| show(it)).collect()
    };
    json(StatusCode::OK, &shown)
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(name): Path<String>,
    query: Query,
) -> Answer {
    let shown = {
        let snapshot = app.catalog().read();
        let application = principal.application(&snapshot, query.required("application_id")?)?;
        let found = snapshot.event_type(application.application_id, &name);
        show(found.ok_or_else(|| not_found("event type"))?)
    };
    json(StatusCode::OK, &shown)
}

pub(super) async fn create(State(app): State<Arc<App>>, principal: Principal, Json(body): Json) -> Answer {
    principal.editor()?;
    let mut fields = Fields::new(body, "", FIELDS)?;
    fields.not_built("schema")?;
    fields.not_built("deprecated")?;
    let application = fields.required_text("application_id", 1..=200)?;
    let description = fields.text("description", 0..=1_000)?;
    let name = name(&mut fields)?;
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, moment: crate::store::Moment| {
        let application = principal.application(snapshot, &application)?.application_id;
        let former = snapshot.event_type(application, name.as_str());
        let kept = former.and_then(|it| it.description.clone());
        let event_type = EventType {
            application_id: application,
            name: name.clone(),
            description: description.clone().unwrap_or(kept),
            created_ms: former.map_or(moment.now_ms, |it| it.created_ms),
        };
        if former.is_some_and(|former| **former == event_type) {
            return Ok(Decision::nothing(event_type));
        }
        Ok(Decision::put(ControlObject::EventType(event_type.clone()), event_type))
    };
    let event_type = app.store().write(actor, decide).await?;
    json(StatusCode::CREATED, &show(&event_type))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    principal: Principal,
    Path(name): Path<String>,
    query: Query,
) -> Answer {
    principal.editor()?;
    let application = query.required("application_id")?.to_owned();
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, _moment| {
        let application = principal.application(snapshot, &application)?.application_id;
        let Some(found) = snapshot.event_type(application, &name) else { return Ok(Decision::nothing(())) };
        let key = ControlKey::EventType(application, found.name.clone());
        Ok(Decision { changes: vec![Change::Remove(key)], answer: () })
    };
    app.store().write(actor, decide).await?;
    no_content()
}

/// `name`, or `service` + `resource_type` + `verb` (an empty resource type makes a two-part name).
fn name(fields: &mut Fields) -> Result<EventTypeName, Problem> {
    let whole = fields.text("name", 1..=310)?.flatten();
    let parts = ["service", "resource_type", "verb"].map(|part| fields.text(part, 0..=310));
    let [service, resource_type, verb] = parts;
    let parts = [service?.flatten(), resource_type?.flatten(), verb?.flatten()];
    let (field, text) = match (whole, parts) {
        (Some(name), [None, None, None]) => ("name", name),
        (Some(_), _) => return Err(fields.wrong("name", "is given beside service, resource_type and verb")),
        (None, [service, resource_type, verb]) => {
            let part = |name, part: Option<String>| part.ok_or_else(|| fields.wrong(name, "is required"));
            let (service, verb) = (part("service", service)?, part("verb", verb)?);
            let between = part("resource_type", resource_type)?;
            let name =
                if between.is_empty() { format!("{service}.{verb}") } else { format!("{service}.{between}.{verb}") };
            ("service", name)
        }
    };
    EventTypeName::parse(&text).map_err(|error| Problem::field(field, Code::InvalidField, error.to_string()))
}

fn show(event_type: &EventType) -> Value {
    let (service, resource_type, verb) = event_type.name.hook0_parts();
    let mut shown = json!({
        "service_name": service,
        "resource_type_name": resource_type,
        "verb_name": verb,
        "event_type_name": event_type.name,
    });
    if let Some(description) = &event_type.description {
        shown["description"] = json!(description);
    }
    shown
}
