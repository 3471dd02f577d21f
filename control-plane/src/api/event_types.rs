//! Event types: declared by an idempotent upsert, in Hook0's three parts or by name. A version is part of the name
//! (`order.shipped.v2`); an old one is kept and marked as deprecated.

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use catalog::schema::{MAX_SCHEMA_BYTES, Schema};
use http::StatusCode;
use schemas::control::EventType;
use schemas::event_type::EventTypeName;
use schemas::problem::Code;
use serde_json::Value;

use self::deprecation::DeprecationInput;
pub(super) use self::shapes::payload_schema;
use self::shapes::{EventTypePatch, EventTypePost, EventTypeShown};
use super::addressed::{Addressed, FoundObject, there};
use super::{object, object_unless_known, rows};
use crate::auth::Principal;
use crate::body::{Fields, Json};
use crate::etag::Preconditions;
use crate::limits;
use crate::page::Page;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::store::{Decision, Moment};

mod deprecation;
mod shapes;

/// Fields of a new one.
pub(super) const FIELDS: &[&str] = &[
    "application_id",
    "service",
    "resource_type",
    "verb",
    "name",
    "description",
    "schema",
    "deprecated",
    "deprecated_at",
    "sunset_at",
];
/// Those of one that is given by its name.
#[cfg(test)]
pub(super) const BY_NAME: &[&str] =
    &["application_id", "name", "description", "schema", "deprecated", "deprecated_at", "sunset_at"];
/// Those of one that is given in parts.
#[cfg(test)]
pub(super) const BY_PARTS: &[&str] = &[
    "application_id",
    "service",
    "resource_type",
    "verb",
    "description",
    "schema",
    "deprecated",
    "deprecated_at",
    "sunset_at",
];
/// Fields that can be changed.
pub(super) const CHANGEABLE: &[&str] =
    &["application_id", "description", "schema", "deprecated", "deprecated_at", "sunset_at"];

/// What may be said about an event type. `None`: not given, keeps its value.
#[derive(Clone, Debug)]
struct EventTypeInput {
    description: Option<Option<String>>,
    schema: Option<Option<Value>>,
    deprecation: DeprecationInput,
}

/// List event types
#[utoipa::path(
    get, path = "/api/v1/event_types", operation_id = "eventTypes.list", tag = "event_types",
    params(
        ("application_id" = String, Query, description = "Id or uid", min_length = 1),
        ("deprecated" = Option<bool>, Query, description = "Only those that are, or are not", nullable = false),
        ("prefix" = Option<String>, Query, description = "Only names that begin so", min_length = 1, nullable = false),
    ),
    responses((status = 200, description = "By name", body = Vec<EventTypeShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    let deprecated = query.flag("deprecated")?;
    let prefix = query.get("prefix");
    if prefix == Some("") {
        return Err(Problem::field("prefix", Code::InvalidField, "is empty"));
    }
    let page = Page::of(&query)?;
    let found = {
        let snapshot = app.catalog().read();
        let application = principal.application(&snapshot, query.required("application_id")?)?;
        let all = snapshot.event_types_after(application.application_id, page.after_name());
        let named = all.filter(|it| prefix.is_none_or(|prefix| it.name.as_str().starts_with(prefix)));
        let asked = named.filter(|it| deprecated.is_none_or(|deprecated| it.deprecated == deprecated));
        page.cut(asked.cloned(), |it| it.name.as_str().to_owned())?
    };
    rows(&query, &found.map(|it| EventTypeShown::of(&it)))
}

/// Read an event type
#[utoipa::path(
    get, path = "/api/v1/event_types/{event_type_name}", operation_id = "eventTypes.get", tag = "event_types",
    params(
        ("event_type_name" = String, Path, description = "Its name"),
        ("application_id" = String, Query, description = "Id or uid", min_length = 1),
    ),
    responses((status = 200, description = "The event type", body = EventTypeShown)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    let find = of_application(query.required("application_id")?.to_owned());
    let found = there(find(&asked, &app.catalog().read())?)?;
    object_unless_known(&asked.preconditions, &found, &EventTypeShown::of(&found))
}

/// Declare an event type
///
/// Under `name`, or under Hook0's three parts, of which the middle one may be empty or hold dots. Declaring one that is there changes what is given; `If-None-Match: *` insists
/// on a new one. One that is deprecated is still accepted; its deliveries say so in `Deprecation` (RFC 9745) and `Sunset` (RFC 8594).
/// Payloads that do not fit `schema` are refused. One that takes too long to compile is a 422, `schema_too_costly`:
/// it has at most 200 patterns.
#[utoipa::path(
    post, path = "/api/v1/event_types", operation_id = "eventTypes.create", tag = "event_types",
    request_body(content = EventTypePost),
    responses(
        (status = 201, description = "The event type", body = EventTypeShown),
        (status = 412, description = "Validation: it is there already, or is not the version the request names"),
        (status = 429, description = "TooManyEventTypesPerApplication: the application's limit is reached"),
    ),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    principal.editor()?;
    let mut fields = Fields::new(body, "", FIELDS)?;
    let application = application(&principal, &mut fields)?;
    let name = name(&mut fields)?;
    let input = EventTypeInput::read(&mut fields)?;
    let instance = app.config().limits;
    let actor = principal.actor();
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let application = principal.application(snapshot, &application)?;
        let Some(former) = snapshot.event_type(application.application_id, name.as_str()) else {
            preconditions.check_absent()?;
            limits::event_type(snapshot, &application, &instance)?;
            let new = EventType::new(application.application_id, name.clone(), moment.now_ms);
            return Ok(Decision::made(input.apply(new, moment)?));
        };
        preconditions.check(former.object())?;
        Ok(Decision::changed(former.object(), input.apply(former.object().clone(), moment)?, moment))
    };
    let event_type = app.store().write(actor, decide).await?;
    object(StatusCode::CREATED, &event_type, &EventTypeShown::of(&event_type))
}

/// Change parts of an event type
///
/// A JSON merge patch; a schema that is given replaces the former one as a whole, null takes it away.
#[utoipa::path(
    patch, path = "/api/v1/event_types/{event_type_name}", operation_id = "eventTypes.patch", tag = "event_types",
    params(
        ("event_type_name" = String, Path, description = "Its name"),
        ("application_id" = Option<String>, Query, description = "Id or uid; here or in the body", min_length = 1,
            nullable = false),
    ),
    request_body(content = EventTypePatch),
    responses((status = 200, description = "The event type as it is now", body = EventTypeShown)),
)]
pub(super) async fn patch(State(app): State<Arc<App>>, asked: Addressed, query: Query, Json(body): Json) -> Answer {
    asked.principal.editor()?;
    let mut fields = Fields::new(body, "", CHANGEABLE)?;
    let application = match query.get("application_id") {
        Some(given) => given.to_owned(),
        None => application(&asked.principal, &mut fields)?,
    };
    let input = EventTypeInput::read(&mut fields)?;
    let decide = move |_: &Snapshot, former: &EventType, moment: Moment| {
        Ok(Decision::changed(former, input.apply(former.clone(), moment)?, moment))
    };
    let event_type = asked.change(&app, of_application(application), decide).await?;
    object(StatusCode::OK, &event_type, &EventTypeShown::of(&event_type))
}

/// Delete an event type
///
/// Events of this type are refused from then on; subscriptions that name it stay. Deleting what is gone already is a 204 too.
#[utoipa::path(
    delete, path = "/api/v1/event_types/{event_type_name}", operation_id = "eventTypes.delete", tag = "event_types",
    params(
        ("event_type_name" = String, Path, description = "Its name"),
        ("application_id" = String, Query, description = "Id or uid", min_length = 1),
    ),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, asked: Addressed, query: Query) -> Answer {
    asked.principal.editor()?;
    let application = query.required("application_id")?.to_owned();
    asked.delete(&app, of_application(application)).await
}

fn of_application(application: String) -> impl Fn(&Addressed, &Snapshot) -> FoundObject<EventType> + Send + 'static {
    move |asked, snapshot| {
        let application = asked.principal.application(snapshot, &application)?.application_id;
        Ok(snapshot.event_type(application, &asked.id).map(|it| it.object().clone()))
    }
}

/// The application that is named, or the token's own.
fn application(principal: &Principal, fields: &mut Fields) -> Result<String, Problem> {
    let own = || principal.own_application().map(|id| id.to_string());
    let given = fields.kept_text("application_id", 1..=200)?.or_else(own);
    given.ok_or_else(|| fields.wrong("application_id", "is required"))
}

/// `name`, or `service` + `resource_type` + `verb` (an empty resource type makes a two-part name).
fn name(fields: &mut Fields) -> Result<EventTypeName, Problem> {
    let whole = fields.kept_text("name", 1..=310)?;
    let parts = ["service", "resource_type", "verb"].map(|part| fields.kept_text(part, 0..=310));
    let [service, resource_type, verb] = parts;
    let parts = [service?, resource_type?, verb?];
    let (field, text) = match (whole, parts) {
        (Some(name), [None, None, None]) => ("name", name),
        (Some(_), _) => return Err(fields.wrong("name", "is given beside service, resource_type and verb")),
        (None, [service, resource_type, verb]) => {
            let part = |name, part: Option<String>| part.ok_or_else(|| fields.wrong(name, "is required"));
            let (service, verb) = (part("service", service)?, part("verb", verb)?);
            for (field, text) in [("service", &service), ("verb", &verb)] {
                if text.contains('.') {
                    return Err(fields.wrong(field, "is one part; more of them stand in resource_type"));
                }
            }
            let between = part("resource_type", resource_type)?;
            let name =
                if between.is_empty() { format!("{service}.{verb}") } else { format!("{service}.{between}.{verb}") };
            ("service", name)
        }
    };
    EventTypeName::parse(&text).map_err(|error| Problem::field(field, Code::InvalidField, error.to_string()))
}

// === impl EventTypeInput ===

impl EventTypeInput {
    fn read(fields: &mut Fields) -> Result<Self, Problem> {
        let schema = match fields.take("schema") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(schema) => Some(Some(checked(schema)?)),
        };
        let description = fields.text("description", 0..=1_000)?;
        Ok(Self { description, schema, deprecation: DeprecationInput::read(fields)? })
    }

    fn apply(&self, former: EventType, moment: Moment) -> Result<EventType, Problem> {
        let mut event_type = former;
        if let Some(description) = &self.description {
            event_type.description.clone_from(description);
        }
        if let Some(schema) = &self.schema {
            event_type.schema.clone_from(schema);
        }
        self.deprecation.apply(&mut event_type, moment.now_ms)?;
        Ok(event_type)
    }
}

/// A JSON Schema that gateways can check payloads with; anything else is a 422 with the place in the schema.
fn checked(schema: Value) -> Result<Value, Problem> {
    let wrong = |message: String| Problem::field("schema", Code::InvalidField, message);
    if !schema.is_object() {
        return Err(wrong("must be an object: a JSON Schema".to_owned()));
    }
    let size = schema.to_string().len();
    if size > MAX_SCHEMA_BYTES {
        return Err(wrong(format!("is larger than {MAX_SCHEMA_BYTES} bytes")));
    }
    Schema::compile(&schema).map_err(|error| {
        let code = if error.is_costly { Code::SchemaTooCostly } else { Code::InvalidField };
        Problem::field("schema", code, error.to_string())
    })?;
    Ok(schema)
}
