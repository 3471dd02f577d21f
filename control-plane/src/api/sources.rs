//! Sources: topics of others that become events. An organization's, so application secrets do not see them.

pub(super) mod actions;
pub(super) mod partitions;
pub(super) mod trial;

use std::sync::Arc;

use axum::extract::State;
use catalog::{RegistryMap, Snapshot};
use http::StatusCode;
use schemas::control::TopicSource;
use schemas::ids::{PositionId, SourceId};
use schemas::problem::{Code, ProblemId};
use uuid::Uuid;

use super::addressed::{Addressed, FoundObject};
use super::{current, naming, object, object_unless_known, rows};
use crate::auth::{Principal, Who};
use crate::body::{self, Json};
use crate::etag::Preconditions;
use crate::page::Page;
use crate::problem::{Answer, Problem, unavailable};
use crate::query::Query;
use crate::source::{self, FoundStarts, SourceInput, SourceShown};
use crate::state::App;
use crate::store::{Decision, Moment};

/// List sources
#[utoipa::path(
    get, path = "/api/v1/sources", operation_id = "sources.list", tag = "sources",
    params(
        ("organization_id" = Option<String>, Query, description = "Id or uid; without it all that the token sees",
            min_length = 1, nullable = false),
        ("uid" = Option<String>, Query, description = "Only the one with this uid", nullable = false),
    ),
    responses((status = 200, description = "What the token sees", body = Vec<SourceShown>)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, principal: Principal, query: Query) -> Answer {
    if principal.own_application().is_some() {
        return Err(principal.absent("organization"));
    }
    let page = Page::of(&query)?;
    let after = page.after_id()?.map(SourceId);
    let uid = query.get("uid");
    let found = {
        let snapshot = app.catalog().read();
        let given = query.get("organization_id").map(|given| principal.organization(&snapshot, given)).transpose()?;
        let organization = given.map(|it| it.organization_id).or_else(|| principal.own_organization());
        let fits = |it: &&Arc<TopicSource>| {
            organization.is_none_or(|id| it.organization_id == id)
                && uid.is_none_or(|uid| it.uid.as_deref() == Some(uid))
        };
        let all = snapshot.sources().values().filter(|it| after.is_none_or(|after| it.source_id > after));
        page.cut(all.filter(fits).cloned(), |it| it.source_id.to_string())?
    };
    rows(&query, &found.map(|it| shown(&app, &it)))
}

/// Read a source
///
/// The entity tag stands for what was written; `status` is what fan-out workers said lately.
#[utoipa::path(
    get, path = "/api/v1/sources/{source_id}", operation_id = "sources.get", tag = "sources",
    params(("source_id" = String, Path, description = "Id or uid")),
    responses((status = 200, description = "The source", body = SourceShown)),
)]
pub(super) async fn get(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    let source = seen(&asked.principal, &app.catalog().read(), &asked.id)?;
    object_unless_known(&asked.preconditions, &*source, &shown(&app, &source))
}

/// Make a source
///
/// Where it begins is worked out before the answer: of a source that begins at the end nothing is missed that is written after
/// the answer, whether a worker runs or not.
#[utoipa::path(
    post, path = "/api/v1/sources", operation_id = "sources.create", tag = "sources",
    request_body(content = ref("#/components/schemas/SourcePost"), content_type = "application/json"),
    responses((status = 201, description = "The source", body = SourceShown)),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    principal: Principal,
    preconditions: Preconditions,
    Json(body): Json,
) -> Answer {
    principal.editor()?;
    if principal.own_application().is_some() {
        return Err(principal.absent("organization"));
    }
    preconditions.check_absent()?;
    if !app.config().sources.enabled {
        return Err(Problem::new(
            ProblemId::Validation,
            "sources are switched off on this instance (`sources.enabled`)",
        ));
    }
    let input = SourceInput::read(body)?;
    principal.may_give_id("source_id", input.source_id.is_some())?;
    let name = input.name.clone().ok_or_else(|| Problem::field("name", Code::InvalidField, "is required"))?;
    let format = input.required_format()?;
    let id = input.source_id.unwrap_or_else(|| SourceId(Uuid::now_v7()));
    let position = PositionId(Uuid::now_v7());
    let new = move |organization, now_ms| TopicSource::new(id, organization, name.clone(), format, position, now_ms);
    let (config, first, actor) = (app.config().sources.clone(), app.config().organization_id, principal.actor());
    let own = principal.own_organization().unwrap_or(first).to_string();
    let owner = input.organization.clone().unwrap_or(own);
    let known = registries(&app, &input).await?;
    let allowed = |snapshot: &Snapshot| {
        let organization = principal.organization(snapshot, &owner)?.organization_id;
        let draft = input.apply(new(organization, 0), &known)?;
        may_look(snapshot, &principal, &config.own_prefix, (None, &draft))?;
        Ok(draft)
    };
    let draft = current::found(&app, allowed).await?;
    let found = look(&app, &principal, &draft).await?;
    let decide = move |snapshot: &Snapshot, moment: Moment| {
        let organization = principal.organization(snapshot, &owner)?;
        if snapshot.source(id).is_some() {
            return Err(naming::taken("source_id", "source"));
        }
        let mut source = input.apply(new(organization.organization_id, moment.now_ms), snapshot.schema_registries())?;
        source::check_topics(snapshot, &principal, &config.own_prefix, (None, &source))?;
        check_names(snapshot, &source)?;
        source::check_mapping(&source)?;
        source::begin(None, &mut source, &found, position)?;
        source::check_room(snapshot, &config, true, &source)?;
        Ok(Decision::made(source))
    };
    let source = app.store().write(actor, decide).await?;
    object(StatusCode::CREATED, &source, &shown(&app, &source))
}

/// Change a source
///
/// What is left out keeps its value, null clears it. Topics that it read before are read on where they stand; those that are new to
/// it begin where `start` says.
#[utoipa::path(
    put, path = "/api/v1/sources/{source_id}", operation_id = "sources.update", tag = "sources",
    params(("source_id" = String, Path, description = "Id or uid")),
    request_body(content = ref("#/components/schemas/SourcePut"), content_type = "application/json"),
    responses((status = 200, description = "The source as it is now", body = SourceShown)),
)]
pub(super) async fn update(State(app): State<Arc<App>>, asked: Addressed, Json(body): Json) -> Answer {
    let input = SourceInput::read(body)?;
    change(&app, asked, move |_former| Ok(input.clone())).await
}

/// Change parts of a source
///
/// A JSON merge patch: in `labels` and the options of a format too, what is not named stays.
#[utoipa::path(
    patch, path = "/api/v1/sources/{source_id}", operation_id = "sources.patch", tag = "sources",
    params(("source_id" = String, Path, description = "Id or uid")),
    request_body(content = ref("#/components/schemas/SourcePatch"), content_type = "application/json"),
    responses((status = 200, description = "The source as it is now", body = SourceShown)),
)]
pub(super) async fn patch(State(app): State<Arc<App>>, asked: Addressed, Json(patch): Json) -> Answer {
    // A start is one thing, not parts of one.
    let start = patch.get("start").cloned();
    let merged = move |former: &TopicSource| {
        let former = serde_json::to_value(former).unwrap_or_default();
        let mut merged = body::merge(patch.clone(), &former);
        if let Some(start) = &start {
            merged.insert("start".to_owned(), start.clone());
        }
        SourceInput::read(merged)
    };
    change(&app, asked, merged).await
}

/// Delete a source
///
/// What was read of it and not planned is not sent. Deleting what is gone already is a 204 too.
#[utoipa::path(
    delete, path = "/api/v1/sources/{source_id}", operation_id = "sources.delete", tag = "sources",
    params(("source_id" = String, Path, description = "Id or uid")),
    responses((status = 204, description = "It is gone")),
)]
pub(super) async fn delete(State(app): State<Arc<App>>, asked: Addressed) -> Answer {
    asked.principal.editor()?;
    let if_there = |asked: &Addressed, snapshot: &Snapshot| match find(asked, snapshot) {
        Err(problem) if problem.status == 404 => Ok(None),
        found => found,
    };
    asked.delete(&app, if_there).await
}

/// One change for `PUT` and `PATCH`: `input` says what is given, looking at the former object.
async fn change(
    app: &App,
    asked: Addressed,
    input: impl Fn(&TopicSource) -> Result<SourceInput, Problem> + Send + 'static,
) -> Answer {
    asked.principal.editor()?;
    let (principal, config) = (asked.principal.clone(), app.config().sources.clone());
    let fresh = PositionId(Uuid::now_v7());
    // Kafka is asked of what the change would come to; whether it still does is seen when it is decided.
    let former = current(app, &asked).await?;
    let given = input(&former)?;
    let draft = given.apply(TopicSource::clone(&former), &registries(app, &given).await?)?;
    let names = |of: &TopicSource| (of.topics.clone(), of.exclude.clone());
    let found = if names(&draft) == names(&former) {
        None
    } else {
        let topics = (Some(&*former), &draft);
        let allowed = |snapshot: &Snapshot| may_look(snapshot, &principal, &config.own_prefix, topics);
        current::found(app, allowed).await?;
        Some((names(&draft), look(app, &principal, &draft).await?))
    };
    let decide = move |snapshot: &Snapshot, former: &TopicSource, moment: Moment| {
        let input = input(former)?;
        stays(&input, former, snapshot)?;
        let mut source = input.apply(former.clone(), snapshot.schema_registries())?;
        source::check_topics(snapshot, &principal, &config.own_prefix, (Some(former), &source))?;
        check_names(snapshot, &source)?;
        source::check_mapping(&source)?;
        if names(&source) != names(former) {
            let found = found.as_ref().filter(|(looked, _)| *looked == names(&source));
            let (_, found) = found.ok_or_else(|| unavailable("the source was changed meanwhile: send it again"))?;
            source::begin(Some(former), &mut source, found, fresh)?;
            source::check_room(snapshot, &config, false, &source)?;
        }
        Ok(Decision::changed(former, source, moment))
    };
    let source = asked.change(app, find, decide).await?;
    object(StatusCode::OK, &source, &shown(app, &source))
}

/// The source as it is known here, or as it is known once everything is that was written before.
async fn current(app: &App, asked: &Addressed) -> Result<Arc<TopicSource>, Problem> {
    current::found(app, |snapshot| seen(&asked.principal, snapshot, &asked.id)).await
}

/// The schema registries: those that are known here, or, where that one is not among them that is named, those that are known once
/// everything is that was written before.
async fn registries(app: &App, input: &SourceInput) -> Result<RegistryMap, Problem> {
    let known = app.catalog().schema_registries();
    if input.registry().is_none_or(|called| known.values().any(|it| it.is_called(called))) {
        return Ok(known);
    }
    let current = app.catalog().read_index().await;
    current.map_err(|error| unavailable(format!("the catalog is not current: {error}")))?;
    Ok(app.catalog().schema_registries())
}

/// Kafka is not asked of topics for a token that may not read them. Whatever else is wrong is seen when it is decided: a repeat has the
/// answer of the first, which may have made that very source.
fn may_look(
    snapshot: &Snapshot,
    principal: &Principal,
    own_prefix: &str,
    topics: (Option<&TopicSource>, &TopicSource),
) -> Result<(), Problem> {
    match source::check_topics(snapshot, principal, own_prefix, topics) {
        Err(problem) if problem.status == 403 => Err(problem),
        _allowed_or_decided_later => Ok(()),
    }
}

/// What the cluster says of the topics that a source names: all of them are looked through, so an organization asks once at a time.
async fn look(app: &App, principal: &Principal, draft: &TopicSource) -> Result<FoundStarts, Problem> {
    let asking = principal.who.organization(&app.catalog().read());
    let _turn = app.turns().topics.take(asking).await?;
    // What Kafka says may name what belongs to others; the log has it.
    let told = |problem: Problem| match &principal.who {
        Who::Service(_) | Who::Application(_) if problem.status == 503 => {
            unavailable("Kafka does not say now which topics there are, or where they begin and end")
        }
        Who::Admin | Who::Service(_) | Who::Application(_) => problem,
    };
    let exact = draft.topics.iter().filter(|it| !it.ends_with('*')).cloned().collect();
    let mut seen = app.cluster().look(exact).await.map_err(told)?;
    let own_prefix = &app.config().sources.own_prefix;
    seen.there.retain(|topic, _| {
        let is_foreign = !topic.starts_with(own_prefix.as_str()) && !topic.starts_with("__");
        is_foreign && draft.names(topic).is_some()
    });
    let edges = app.cluster().edges(seen.there.clone(), &draft.start).await.map_err(told)?;
    Ok(FoundStarts { seen, edges })
}

/// A source that a token sees, by id or uid.
pub(super) fn seen(principal: &Principal, snapshot: &Snapshot, id_or_uid: &str) -> Result<Arc<TopicSource>, Problem> {
    let found = match &principal.who {
        Who::Application(_) => None,
        Who::Service(entry) => snapshot.source_in(entry.organization, id_or_uid),
        Who::Admin => {
            let mut called = snapshot.sources().values().filter(|it| it.is_called(id_or_uid));
            let found = called.next();
            if called.next().is_some() {
                let message = "sources of several organizations have this uid: name one by its id";
                return Err(Problem::field("source_id", Code::InvalidField, message));
            }
            found
        }
    };
    found.cloned().ok_or_else(|| principal.absent("source"))
}

fn find(asked: &Addressed, snapshot: &Snapshot) -> FoundObject<TopicSource> {
    seen(&asked.principal, snapshot, &asked.id).map(|it| Some(Arc::unwrap_or_clone(it)))
}

fn shown(app: &App, source: &TopicSource) -> SourceShown {
    let now_ms = chassis::clock::now_ms();
    SourceShown::of(source, &app.health().sources.of(source.source_id, now_ms), now_ms)
}

/// A source keeps its id and its organization.
fn stays(input: &SourceInput, former: &TopicSource, snapshot: &Snapshot) -> Result<(), Problem> {
    let organization = snapshot.organization(former.organization_id);
    let uid = organization.and_then(|it| it.uid.as_deref());
    let same = |given: &String| *given == former.organization_id.to_string() || Some(given.as_str()) == uid;
    if !input.organization.as_ref().is_none_or(same) {
        return Err(Problem::field("organization_id", Code::InvalidField, "a source stays in its organization"));
    }
    if input.source_id.is_some_and(|id| id != former.source_id) {
        return Err(Problem::field("source_id", Code::InvalidField, "a source keeps its id"));
    }
    Ok(())
}

/// A uid is unique in its organization, and an application that is named outright is one of it.
fn check_names(snapshot: &Snapshot, source: &TopicSource) -> Result<(), Problem> {
    let holder = source.uid.as_deref().and_then(|uid| snapshot.source_in(source.organization_id, uid));
    if holder.is_some_and(|it| it.source_id != source.source_id) {
        return Err(naming::taken("uid", "source"));
    }
    let named = source.application.as_deref().filter(|it| !it.contains(['{', '}']));
    if let Some(named) = named
        && snapshot.application_in(source.organization_id, named).is_none()
    {
        let shown: String = named.chars().take(100).collect();
        let message = format!("there is no application `{shown}` in the source's organization");
        return Err(Problem::field("application", Code::InvalidField, message));
    }
    Ok(())
}
