//! What becomes of a record, without sending anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use chassis::clock;
use http::StatusCode;
use schemas::control::TopicSource;
use schemas::ids::{PositionId, SourceId};
use schemas::problem::{Code, ProblemId};
use schemas::record::TopicPartition;
use serde_json::Value;
use sources::schema::{SchemaKey, SchemaLookup, SchemaState};
use sources::{Against, Mapped, Mapping};
use uuid::Uuid;

use super::seen;
use crate::api::json;
use crate::auth::{Principal, Who};
use crate::body::{Fields, Json};
use crate::problem::{Answer, Problem};
use crate::source::{SourceInput, SourceTrialShown, TrialEvent, TrialRecord, mapping_problem};
use crate::state::App;

/// Try a source on a record
///
/// Says which event it becomes, whom it would be sent to, or why it is none. Nothing is sent and nothing is kept.
#[utoipa::path(
    post, path = "/api/v1/sources:test", operation_id = "sources.test", tag = "sources",
    request_body(content = ref("#/components/schemas/SourceTest"), content_type = "application/json"),
    responses((status = 200, description = "What becomes of it", body = SourceTrialShown)),
)]
pub(in crate::api) async fn test(State(app): State<Arc<App>>, principal: Principal, Json(body): Json) -> Answer {
    principal.editor()?;
    if principal.own_application().is_some() {
        return Err(principal.absent("source"));
    }
    let mut fields = Fields::new(body, "", &["source", "record"])?;
    let given = fields.take("source").filter(|it| !it.is_null());
    let given = given.ok_or_else(|| fields.wrong("source", "is required: an id, a uid, or a definition"))?;
    let source = source(&app, &principal, given)?;
    let now_ms = clock::now_ms();
    let record = TrialRecord::read(fields.take("record"), &source, now_ms)?;
    let mapping = Mapping::compile(&source).map_err(|error| mapping_problem(&error))?;
    let from = TopicPartition::new(record.topic.as_str(), 0);
    let mut known = KnownSchemas::default();
    loop {
        let became = {
            let against = Against { decoded_limit: app.config().sources.decoded_limit, schemas: &known };
            match mapping.map(&record.record, &from, against) {
                Mapped::Event(event) => match TrialEvent::new(&event, now_ms) {
                    Ok(event) => Ok(event),
                    Err(rejection) => return json(StatusCode::OK, &SourceTrialShown::rejected(&rejection)),
                },
                Mapped::Skipped(reason) => return json(StatusCode::OK, &SourceTrialShown::skipped(reason.as_str())),
                Mapped::Rejected(rejection) => return json(StatusCode::OK, &SourceTrialShown::rejected(&rejection)),
                Mapped::NeedsSchema(key) => Err(key),
            }
        };
        let key = match became {
            Ok(event) => {
                let shown = SourceTrialShown::of(event, app.catalog(), source.organization_id).await?;
                return json(StatusCode::OK, &shown);
            }
            Err(key) => key,
        };
        // One for the key and one for the value; what is known now is not asked for again.
        let state = schema(&app, key).await?;
        known.0.insert(key, state);
    }
}

/// Schemas that this record has needed so far.
#[derive(Default)]
struct KnownSchemas(BTreeMap<SchemaKey, SchemaState>);

impl SchemaLookup for KnownSchemas {
    fn schema(&self, key: &SchemaKey) -> SchemaState {
        self.0.get(key).cloned().unwrap_or(SchemaState::Wanted)
    }
}

/// Asks the source's registry for a schema.
async fn schema(app: &App, key: SchemaKey) -> Result<SchemaState, Problem> {
    let registry = app.catalog().read().schema_registry(key.registry).cloned();
    let registry = registry.ok_or_else(|| {
        Problem::field(
            "source.registry",
            Code::InvalidField,
            "the source's schema registry was deleted: name another one",
        )
    })?;
    let asked = app.registries().schema(&registry, app.catalog().vault(), key.id).await;
    asked.map_err(|why| {
        let detail = format!("{} cannot be asked for, its records wait: {why}", key.id);
        Problem::new(ProblemId::ServiceUnavailable, detail).with_retry_after(1)
    })
}

/// The source of an id or uid, or of a definition that is not made yet.
fn source(app: &App, principal: &Principal, given: Value) -> Result<TopicSource, Problem> {
    let snapshot = app.catalog().read();
    match given {
        Value::String(id_or_uid) => seen(principal, &snapshot, &id_or_uid).map(Arc::unwrap_or_clone),
        Value::Object(definition) => drafted(app, principal, &snapshot, definition),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(Problem::field("source", Code::InvalidField, "must be an id, a uid, or a definition"))
        }
    }
}

fn drafted(
    app: &App,
    principal: &Principal,
    snapshot: &Snapshot,
    definition: serde_json::Map<String, Value>,
) -> Result<TopicSource, Problem> {
    let input = SourceInput::read(definition)?;
    let own = || principal.own_organization().unwrap_or_else(|| app.config().organization_id).to_string();
    let organization = principal.organization(snapshot, &input.organization.clone().unwrap_or_else(own))?;
    // Whoever may make no source reads no schemas by trying one: a draft can name every registry, and a record every id.
    let is_operator = matches!(principal.who, Who::Admin);
    if input.registry().is_some() && !is_operator && organization.source_topics.is_empty() {
        let message = "cannot be asked for this organization, whose tokens may read no topics: the operator sets `source_topics` of the \
                       organization, or makes the source";
        return Err(Problem::field("source.registry", Code::InvalidField, message).with_status(403));
    }
    let (id, position) = (SourceId(Uuid::nil()), PositionId(Uuid::nil()));
    let format = input.required_format()?;
    let new = TopicSource::new(id, organization.organization_id, "trial", format, position, clock::now_ms());
    input.apply(new, snapshot.schema_registries())
}
