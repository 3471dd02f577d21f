//! Schema registries: the operator's alone. Sources of any organization refer to them by id or uid.

use std::sync::Arc;

use axum::extract::State;
use catalog::Snapshot;
use http::StatusCode;
use schemas::control::SchemaRegistry;
use schemas::control::schema_registry::MAX_REGISTRIES;
use schemas::ids::SchemaRegistryId;
use schemas::problem::{Code, ProblemId};
use uuid::Uuid;

use super::addressed::{Addressed, FoundObject};
use super::{json, naming, object, object_unless_known, rows};
use crate::auth::Principal;
use crate::body::{self, Json};
use crate::etag::Preconditions;
use crate::page::Page;
use crate::problem::{Answer, Problem, not_found};
use crate::query::Query;
use crate::schema_registry::{RegistryCheckShown, RegistryInput, SchemaRegistryShown};
use crate::state::App;
use crate::store::{Decision, Moment};

/// Sources whose names are told of a registry that they need.
const TOLD: usize = 3;

/// List schema registries
///
/// With the admin key only, as all of these.
#[utoipa::path(
    get, path = "/api/v1/schema_registries", operation_id = "schemaRegistries.list", tag = "schema_registries",
    params(("uid" = Option<String>, Query, description = "Only the one with this uid", nullable = false)),
    responses((status = 200, description = "All of them", body = Vec<SchemaRegistryShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    principal.admin()?;
    let page = Page::of(&query)?;
    let after = page.after_id()?.map(SchemaRegistryId);
    let uid = query.get("uid");
    let all = app.catalog().schema_registries();
    let fits = |it: &&Arc<SchemaRegistry>| {
        after.is_none_or(|after| it.schema_registry_id > after) && uid.is_none_or(|uid| it.uid.as_deref() == Some(uid))
    };
    let found = page.cut(all.values().filter(fits).cloned(), |it| it.schema_registry_id.to_string())?;
    rows(&query, &found.map(|it| SchemaRegistryShown::of(&it)))
}

/// Read a schema registry
#[utoipa::path(
    get, path = "/api/v1/schema_registries/{schema_registry_id}", operation_id = "schemaRegistries.get",
    tag = "schema_registries",
    params(("schema_registry_id" = String, Path, description = "Id or uid")),
    responses((status = 200, description = "The schema registry", body = SchemaRegistryShown)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    let registry = there(&asked, &app.catalog().read())?;
    object_unless_known(&asked.preconditions, &registry, &SchemaRegistryShown::of(&registry))
}

/// Make a schema registry
///
/// Its URLs may be of the operator's own network. Nothing is asked of it yet: `check` does.
#[utoipa::path(
    post, path = "/api/v1/schema_registries", operation_id = "schemaRegistries.create", tag = "schema_registries",
    request_body(content = ref("#/components/schemas/SchemaRegistryPost"), content_type = "application/json"),
    responses((status = 201, description = "The schema registry", body = SchemaRegistryShown)),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    principal.admin()?;
    preconditions.check_absent()?;
    let input = RegistryInput::read(body)?;
    let name = input.name.clone().ok_or_else(|| Problem::field("name", Code::InvalidField, "is required"))?;
    let id = input.id.unwrap_or_else(|| SchemaRegistryId(Uuid::now_v7()));
    let vault = Arc::clone(app.catalog().vault());
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        if snapshot.schema_registry(id).is_some() {
            return Err(naming::taken("schema_registry_id", "schema registry"));
        }
        if snapshot.schema_registries().len() >= MAX_REGISTRIES {
            let detail = format!("this instance has at most {MAX_REGISTRIES} schema registries");
            return Err(Problem::new(ProblemId::Validation, detail).with_code(Code::LimitReached));
        }
        check_uid(snapshot, &input, id)?;
        let new = SchemaRegistry::new(id, name.clone(), moment.now_ms);
        Ok(Decision::made(input.apply(new, &vault)?))
    };
    let registry = app.store().write(principal.actor(), decide).await?;
    object(StatusCode::CREATED, &registry, &SchemaRegistryShown::of(&registry))
}

/// Change a schema registry
///
/// What is left out keeps its value, null clears it. A masked secret keeps what is stored.
#[utoipa::path(
    put, path = "/api/v1/schema_registries/{schema_registry_id}", operation_id = "schemaRegistries.update",
    tag = "schema_registries",
    params(("schema_registry_id" = String, Path, description = "Id or uid")),
    request_body(content = ref("#/components/schemas/SchemaRegistryPut"), content_type = "application/json"),
    responses((status = 200, description = "The schema registry as it is now", body = SchemaRegistryShown)),
)]
pub(super) async fn update(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    asked.principal.admin()?;
    let input = RegistryInput::read(body)?;
    change(&app, asked, move |_former| Ok(input.clone())).await
}

/// Change parts of a schema registry
///
/// A JSON merge patch: in `auth` too, what is not named stays.
#[utoipa::path(
    patch, path = "/api/v1/schema_registries/{schema_registry_id}", operation_id = "schemaRegistries.patch",
    tag = "schema_registries",
    params(("schema_registry_id" = String, Path, description = "Id or uid")),
    request_body(content = ref("#/components/schemas/SchemaRegistryPatch"), content_type = "application/json"),
    responses((status = 200, description = "The schema registry as it is now", body = SchemaRegistryShown)),
)]
pub(super) async fn patch(State(app): State<Arc<App>>, asked: Addressed, Json(patch): Json) -> Answer {
    asked.principal.admin()?;
    let merged = move |former: &SchemaRegistry| {
        let shown = serde_json::to_value(SchemaRegistryShown::of(former)).unwrap_or_default();
        RegistryInput::read(body::merge(patch.clone(), &shown))
    };
    change(&app, asked, merged).await
}

/// Delete a schema registry
///
/// One that sources read their schemas from is refused. Deleting what is gone already is a 204 too.
#[utoipa::path(
    delete, path = "/api/v1/schema_registries/{schema_registry_id}", operation_id = "schemaRegistries.delete",
    tag = "schema_registries",
    params(("schema_registry_id" = String, Path, description = "Id or uid")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "Validation: sources refer to it (`code` is `in_use`)"),
    ),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    asked.principal.admin()?;
    let unused = |snapshot: &Snapshot, registry: &SchemaRegistry, _: Moment| {
        check_unused(snapshot, registry)?;
        Ok(Vec::new())
    };
    asked.delete_with(&app, find, unused).await
}

/// Ask a schema registry
///
/// Whether it answers at one of its URLs, with its `auth` and within its `timeout_ms` each, and how many subjects it has. What is wrong
/// with it is an answer too: 200 with `reachable: false` and the `error`.
#[utoipa::path(
    post, path = "/api/v1/schema_registries/{schema_registry_id}/check", operation_id = "schemaRegistries.check",
    tag = "schema_registries",
    params(("schema_registry_id" = String, Path, description = "Id or uid")),
    responses((status = 200, description = "What it says", body = RegistryCheckShown)),
)]
pub(super) async fn check(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    let registry = there(&asked, &app.catalog().read())?;
    asked.preconditions.check(&registry)?;
    json(StatusCode::OK, &app.registries().check(&registry, app.catalog().vault()).await)
}

/// One change for `PUT` and `PATCH`: `input` says what is given, looking at the former object.
async fn change(
    app: &App,
    asked: Addressed,
    input: impl Fn(&SchemaRegistry) -> Result<RegistryInput, Problem> + Send + 'static,
) -> Answer {
    let vault = Arc::clone(app.catalog().vault());
    let decide = move |snapshot: &Snapshot, former: &SchemaRegistry, moment: Moment| {
        let input = input(former)?;
        let id = former.schema_registry_id;
        if input.id.is_some_and(|given| given != id) {
            return Err(Problem::field("schema_registry_id", Code::InvalidField, "a schema registry keeps its id"));
        }
        check_uid(snapshot, &input, id)?;
        Ok(Decision::changed(former, input.apply(former.clone(), &vault)?, moment))
    };
    let registry = asked.change(app, find, decide).await?;
    object(StatusCode::OK, &registry, &SchemaRegistryShown::of(&registry))
}

fn find(asked: &Addressed, snapshot: &Snapshot) -> FoundObject<SchemaRegistry> {
    Ok(snapshot.schema_registry_called(&asked.id).map(|it| SchemaRegistry::clone(it)))
}

/// The one that a request is about, for whoever may see them.
fn there(asked: &Addressed, snapshot: &Snapshot) -> Result<SchemaRegistry, Problem> {
    asked.principal.admin()?;
    find(asked, snapshot)?.ok_or_else(|| not_found("schema registry"))
}

/// A uid is unique in the instance.
fn check_uid(snapshot: &Snapshot, input: &RegistryInput, id: SchemaRegistryId) -> Result<(), Problem> {
    let holder = input.uid().and_then(|uid| snapshot.schema_registry_called(uid));
    if holder.is_some_and(|it| it.schema_registry_id != id) {
        return Err(naming::taken("uid", "schema registry"));
    }
    Ok(())
}

/// No source refers to it.
fn check_unused(snapshot: &Snapshot, registry: &SchemaRegistry) -> Result<(), Problem> {
    let of_it = snapshot.sources().values().filter(|it| it.registry == Some(registry.schema_registry_id));
    let names: Vec<String> = of_it.map(|it| format!("{} ({})", it.name, it.source_id)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let (count, told) = (names.len(), names.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", "));
    let more = if count > TOLD { ", .." } else { "" };
    let sources = if count == 1 { "1 source reads".to_owned() } else { format!("{count} sources read") };
    let detail = format!("{sources} schemas from it: {told}{more}; name another registry there first, or delete them");
    Err(Problem::new(ProblemId::Validation, detail).with_status(409).with_code(Code::InUse))
}
