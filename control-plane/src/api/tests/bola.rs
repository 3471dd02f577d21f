//! Who gets which answer: every operation of the OpenAPI document x every kind of caller.
//!
//! The rows are checked against the document, so a route without a row fails. Beside the status, two things hold for whoever may
//! not see an object: the answer about one that is there is the answer about one that is not, byte for byte; and nothing
//! was written.

use std::collections::BTreeSet;

use super::log::one_event;
use super::*;

/// Where an operation reaches, and whether it changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// No token is asked for.
    Public,
    /// The gateway serves it; this router says so.
    Gateway,
    /// The operator alone.
    Operator,
    /// The token itself.
    Own,
    /// Something of an organization that is no application's.
    Organization { writes: bool },
    /// Something of an application.
    Application { writes: bool },
    /// What was rejected of an application's record, which others ask for as if it were not there: no token is refused for asking.
    Rejected { writes: bool },
}

/// An operation as a caller sends it.
struct Row {
    operation: &'static str,
    reach: Reach,
    /// The answer when it is allowed.
    success: u16,
    /// The answer to a service token of another organization: 404, or 204 where a thing that is not there is as good as deleted.
    unseen: u16,
    method: Method,
    path: String,
    body: Option<Value>,
}

/// What is asked for: what is there, or ids nobody has.
struct Things {
    organization: String,
    application: String,
    secret: String,
    service_token: String,
    subscription: String,
    event: String,
    attempt: String,
    job: String,
    source: String,
    registry: String,
    rejected: String,
}

/// Everybody who may ask.
struct Callers {
    viewer_secret: String,
    editor_secret: String,
    viewer_service: String,
    editor_service: String,
    other_secret: String,
    other_service: String,
    sibling_secret: String,
    ingest: Vec<String>,
    unknown: Vec<String>,
}

struct World {
    api: Api,
    things: Things,
    callers: Callers,
}

const READ: bool = false;
const WRITE: bool = true;

fn row(operation: &'static str, reach: Reach, success: u16, method: Method, path: String) -> Row {
    Row { operation, reach, success, unseen: 404, method, path, body: None }
}

impl Row {
    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn unseen(mut self, status: u16) -> Self {
        self.unseen = status;
        self
    }
}

fn rows(things: &Things) -> Vec<Row> {
    let instance = ["instance", "quotas", "errors", "payload_content_types", "openapi.json", "swagger.json"];
    let operations = [
        "instance.get",
        "quotas.get",
        "errors.list",
        "payloadContentTypes.list",
        "instance.openapi",
        "instance.swagger",
    ];
    let public = operations.into_iter().zip(instance);
    let public = public.map(|(operation, path)| row(operation, Reach::Public, 200, Method::GET, format!("/{path}")));
    let gateway = [("events.ingest", "/event"), ("events.ingestBatch", "/events:batch")];
    let gateway =
        gateway.into_iter().map(|(operation, path)| row(operation, Reach::Gateway, 404, Method::POST, path.into()));
    let mut all: Vec<Row> = public.chain(gateway).collect();
    all.push(row("token.get", Reach::Own, 200, Method::GET, "/token".into()));
    let audit = format!("/audit?application_id={}", things.application);
    all.push(row("audit.list", Reach::Application { writes: READ }, 200, Method::GET, audit));
    all.extend(organizations(things));
    all.extend(service_tokens(things));
    all.extend(applications(things));
    all.extend(application_secrets(things));
    all.extend(event_types(things));
    all.extend(subscriptions(things));
    all.extend(sources(things));
    all.extend(schema_registries(things));
    all.extend(log(things));
    all.extend(jobs(things));
    all.extend(rejected(things));
    for (operation, path) in [("instances.list", "/instances"), ("topics.list", "/topics")] {
        all.push(row(operation, Reach::Operator, 200, Method::GET, path.into()));
    }
    all
}

fn organizations(things: &Things) -> Vec<Row> {
    let one = format!("/organizations/{}", things.organization);
    let name = value!({"name": "renamed"});
    let organization = |writes| Reach::Organization { writes };
    vec![
        row("organizations.list", organization(READ), 200, Method::GET, "/organizations".into()).unseen(200),
        row("organizations.create", Reach::Operator, 201, Method::POST, "/organizations".into()).body(name.clone()),
        row("organizations.get", organization(READ), 200, Method::GET, one.clone()),
        row("organizations.update", organization(WRITE), 200, Method::PUT, one.clone()).body(name.clone()),
        row("organizations.patch", organization(WRITE), 200, Method::PATCH, one.clone()).body(name),
        row("organizations.delete", Reach::Operator, 409, Method::DELETE, one),
    ]
}

fn service_tokens(things: &Things) -> Vec<Row> {
    let (list, query) = ("/service_token".to_owned(), format!("organization_id={}", things.organization));
    let one = format!("{list}/{}", things.service_token);
    let body = value!({"organization_id": things.organization, "name": "new"});
    let rotation = value!({"organization_id": things.organization});
    let reach = |writes| Reach::Organization { writes };
    vec![
        row("serviceToken.list", reach(READ), 200, Method::GET, format!("{list}?{query}")),
        row("serviceToken.create", reach(WRITE), 201, Method::POST, list).body(body.clone()),
        row("serviceToken.get", reach(READ), 200, Method::GET, format!("{one}?{query}")),
        row("serviceToken.edit", reach(WRITE), 200, Method::PUT, one.clone()).body(body.clone()),
        row("serviceToken.patch", reach(WRITE), 200, Method::PATCH, one.clone()).body(body),
        row("serviceToken.rotate", reach(WRITE), 201, Method::POST, format!("{one}/rotate")).body(rotation),
        row("serviceToken.delete", reach(WRITE), 204, Method::DELETE, format!("{one}?{query}")),
    ]
}

fn applications(things: &Things) -> Vec<Row> {
    let one = format!("/applications/{}", things.application);
    let list = format!("/applications?organization_id={}", things.organization);
    let new = value!({"organization_id": things.organization, "name": "new one"});
    let name = value!({"name": "renamed"});
    let reach = |writes| Reach::Application { writes };
    vec![
        row("applications.list", reach(READ), 200, Method::GET, list),
        row("applications.create", Reach::Organization { writes: WRITE }, 201, Method::POST, "/applications".into())
            .body(new),
        row("applications.get", reach(READ), 200, Method::GET, one.clone()),
        row("applications.update", reach(WRITE), 200, Method::PUT, one.clone()).body(name.clone()),
        row("applications.patch", reach(WRITE), 200, Method::PATCH, one.clone()).body(name),
        row("applications.delete", reach(WRITE), 204, Method::DELETE, one).unseen(204),
    ]
}

fn application_secrets(things: &Things) -> Vec<Row> {
    let (list, query) = ("/application_secrets".to_owned(), format!("application_id={}", things.application));
    let one = format!("{list}/{}", things.secret);
    let body = value!({"application_id": things.application, "name": "new"});
    let rotation = value!({"application_id": things.application});
    let reach = |writes| Reach::Application { writes };
    vec![
        row("applicationSecrets.read", reach(READ), 200, Method::GET, format!("{list}?{query}")),
        row("applicationSecrets.create", reach(WRITE), 201, Method::POST, list).body(body.clone()),
        row("applicationSecrets.update", reach(WRITE), 200, Method::PUT, one.clone()).body(body.clone()),
        row("applicationSecrets.patch", reach(WRITE), 200, Method::PATCH, one.clone()).body(body),
        row("applicationSecrets.rotate", reach(WRITE), 201, Method::POST, format!("{one}/rotate")).body(rotation),
        row("applicationSecrets.delete", reach(WRITE), 204, Method::DELETE, format!("{one}?{query}")),
    ]
}

fn event_types(things: &Things) -> Vec<Row> {
    let (list, query) = ("/event_types".to_owned(), format!("application_id={}", things.application));
    let one = format!("{list}/invoice.paid?{query}");
    let new = value!({"application_id": things.application, "name": "invoice.sent"});
    let patch = value!({"application_id": things.application, "deprecated": true});
    let reach = |writes| Reach::Application { writes };
    vec![
        row("eventTypes.list", reach(READ), 200, Method::GET, format!("{list}?{query}")),
        row("eventTypes.create", reach(WRITE), 201, Method::POST, list).body(new),
        row("eventTypes.get", reach(READ), 200, Method::GET, one.clone()),
        row("eventTypes.patch", reach(WRITE), 200, Method::PATCH, one.clone()).body(patch),
        row("eventTypes.delete", reach(WRITE), 204, Method::DELETE, one),
    ]
}

fn subscriptions(things: &Things) -> Vec<Row> {
    let (list, query) = ("/subscriptions".to_owned(), format!("application_id={}", things.application));
    let one = format!("{list}/{}", things.subscription);
    let target = Tenant { id: things.application.clone(), token: String::new() };
    let own = value!({"application_id": things.application});
    let reach = |writes| Reach::Application { writes };
    let act = |operation, verb: &str| {
        row(operation, reach(WRITE), 200, Method::POST, format!("{one}/{verb}?{query}")).body(own.clone())
    };
    vec![
        row("subscriptions.list", reach(READ), 200, Method::GET, format!("{list}?{query}")),
        row("subscriptions.create", reach(WRITE), 201, Method::POST, list).body(target.subscription()),
        row("subscriptions.createBatch", reach(WRITE), 200, Method::POST, "/subscriptions:batch".into())
            .body(value!({"application_id": things.application, "subscriptions": [target.subscription()]})),
        row("subscriptions.get", reach(READ), 200, Method::GET, one.clone()),
        row("subscriptions.update", reach(WRITE), 200, Method::PUT, one.clone()).body(target.subscription()),
        row("subscriptions.patch", reach(WRITE), 200, Method::PATCH, one.clone()).body(value!({"description": "new"})),
        row("subscriptions.delete", reach(WRITE), 204, Method::DELETE, format!("{one}?{query}")).unseen(204),
        act("subscriptions.pause", "pause"),
        act("subscriptions.resume", "resume"),
        act("subscriptions.rotateSecret", "rotate_secret"),
        act("subscriptions.skip", "skip")
            .body(value!({"application_id": things.application, "delivery_id": Uuid::from_u128(5)})),
        act("subscriptions.retryNow", "retry_now")
            .body(value!({"application_id": things.application, "delivery_id": Uuid::from_u128(5)})),
        row("subscriptions.health", reach(READ), 200, Method::GET, format!("{one}/health?{query}")),
        row("subscriptions.ping", reach(WRITE), 202, Method::POST, format!("{one}/ping?{query}")),
    ]
}

fn sources(things: &Things) -> Vec<Row> {
    let (list, query) = ("/sources".to_owned(), format!("organization_id={}", things.organization));
    let one = format!("{list}/{}", things.source);
    let mut new = sources::orders(&["crm.new"]);
    new["organization_id"] = value!(things.organization);
    new["application"] = value!(things.application);
    let reach = |writes| Reach::Organization { writes };
    let act = |operation, verb: &str| row(operation, reach(WRITE), 200, Method::POST, format!("{one}/{verb}"));
    vec![
        row("sources.list", reach(READ), 200, Method::GET, format!("{list}?{query}")),
        row("sources.create", reach(WRITE), 201, Method::POST, list).body(new),
        row("sources.get", reach(READ), 200, Method::GET, one.clone()),
        row("sources.update", reach(WRITE), 200, Method::PUT, one.clone()).body(value!({"name": "renamed"})),
        row("sources.patch", reach(WRITE), 200, Method::PATCH, one.clone()).body(value!({"name": "renamed"})),
        row("sources.delete", reach(WRITE), 204, Method::DELETE, one.clone()).unseen(204),
        row("sources.partitions", reach(READ), 200, Method::GET, format!("{one}/partitions")),
        act("sources.pause", "pause"),
        act("sources.resume", "resume"),
        act("sources.move", "move").body(value!({"to": "end"})),
        row("sources.test", reach(WRITE), 200, Method::POST, "/sources:test".into())
            .body(value!({"source": things.source, "record": {"value_base64": "eyJzdGF0dXMiOiJwYWlkIn0="}})),
    ]
}

/// What happened to events. No request and no answer can be read back here: one that is there is not found either.
fn log(things: &Things) -> Vec<Row> {
    let query = format!("application_id={}", things.application);
    let event = format!("/events/{}", things.event);
    let read = |operation, path: String| row(operation, Reach::Application { writes: READ }, 200, Method::GET, path);
    let days = format!("/events_per_day/organization?organization_id={}", things.organization);
    let absent = format!("/responses/{}?{query}", Uuid::nil());
    let request = format!("/request_attempts/{}/request?{query}", Uuid::nil());
    let letter = format!("/dead_letters/{}?{query}", Uuid::nil());
    vec![
        read("events.list", format!("/events?{query}")),
        read("events.get", format!("{event}?{query}&payload=false")),
        row("events.delete", Reach::Application { writes: WRITE }, 204, Method::DELETE, format!("{event}?{query}")),
        read("events.timeline", format!("{event}/timeline?{query}")),
        read("events.explain", format!("{event}/explain?{query}")),
        read("requestAttempts.list", format!("/request_attempts?{query}")),
        read("requestAttempts.get", format!("/request_attempts/{}?{query}", things.attempt)),
        row("requestAttempts.request", Reach::Application { writes: READ }, 404, Method::GET, request),
        row("responses.get", Reach::Application { writes: READ }, 404, Method::GET, absent),
        read("deadLetters.list", format!("/dead_letters?{query}")),
        row("deadLetters.get", Reach::Application { writes: READ }, 404, Method::GET, letter),
        row("log.get", Reach::Operator, 200, Method::GET, "/log".into()),
        row("log.delete", Reach::Operator, 202, Method::DELETE, "/log".into()),
        read("deliveryStats.list", format!("/delivery_stats?{query}")),
        read("eventsPerDay.application", format!("/events_per_day/application?{query}")),
        row("eventsPerDay.organization", Reach::Organization { writes: READ }, 200, Method::GET, days),
    ]
}

/// What is sent again. No payload can be read back here: an event and an attempt that are there cannot be sent again either.
fn jobs(things: &Things) -> Vec<Row> {
    let (query, one) = (format!("application_id={}", things.application), format!("/jobs/{}", things.job));
    let read = Reach::Application { writes: READ };
    let post = |operation, success, path: String| {
        row(operation, Reach::Application { writes: WRITE }, success, Method::POST, path)
    };
    let own = value!({"application_id": things.application});
    let all = value!({"application_id": things.application, "filter": {}});
    let discarded = value!({"application_id": things.application, "filter": {}, "reason": "nobody wants them"});
    let unmatched = value!({"application_id": things.application, "filter": {"outcome": ["unmatched"]}});
    vec![
        row("jobs.list", read, 200, Method::GET, format!("/jobs?{query}")),
        row("jobs.get", read, 200, Method::GET, one.clone()),
        post("jobs.cancel", 200, format!("{one}/cancel")),
        post("jobs.pause", 200, format!("{one}/pause")),
        post("jobs.resume", 200, format!("{one}/resume")),
        post("requestAttempts.retry", 404, format!("/request_attempts/{}/retry", things.attempt)).body(own.clone()),
        post("events.replay", 404, format!("/events/{}/replay", things.event)).body(own),
        post("replays.create", 202, "/replays".into()).body(unmatched),
        post("subscriptions.backfill", 202, format!("/subscriptions/{}/backfill", things.subscription))
            .body(value!({"from": "earliest"})),
        post("deadLetters.redrive", 202, "/dead_letters:redrive".into()).body(all),
        post("deadLetters.discard", 202, "/dead_letters:discard".into()).body(discarded),
    ]
}

/// What could not be used: everybody has a list of what is its own, and what is not its own is not there.
fn rejected(things: &Things) -> Vec<Row> {
    let read = Reach::Rejected { writes: READ };
    let asked = value!({"source_id": things.source});
    vec![
        row("rejected.list", read, 200, Method::GET, format!("/rejected?source_id={}", things.source)).unseen(200),
        row("rejected.get", read, 200, Method::GET, format!("/rejected/{}", things.rejected)),
        row("rejected.retry", Reach::Rejected { writes: WRITE }, 202, Method::POST, "/rejected:retry".into())
            .body(asked)
            .unseen(202),
    ]
}

fn schema_registries(things: &Things) -> Vec<Row> {
    let list = "/schema_registries".to_owned();
    let one = format!("{list}/{}", things.registry);
    let row =
        |operation, success, method, path: &str| row(operation, Reach::Operator, success, method, path.to_owned());
    let name = value!({"name": "renamed"});
    vec![
        row("schemaRegistries.list", 200, Method::GET, &list),
        row("schemaRegistries.create", 201, Method::POST, &list).body(schema_registries::registry("new")),
        row("schemaRegistries.get", 200, Method::GET, &one),
        row("schemaRegistries.update", 200, Method::PUT, &one).body(name.clone()),
        row("schemaRegistries.patch", 200, Method::PATCH, &one).body(name),
        row("schemaRegistries.delete", 204, Method::DELETE, &one),
        row("schemaRegistries.check", 200, Method::POST, &format!("{one}/check")),
    ]
}

/// A source of an application of the organization, whose tokens may name topics of its own.
async fn source(api: &Api, organization: &str, application: &str) -> Value {
    let mut source = sources::orders(&["crm.orders"]);
    (source["application"], source["wait_for_topic"]) = (value!(application), value!(true));
    let (status, source) = api.post(ADMIN, "/sources", source).await;
    assert_eq!(status, 201, "{source}");
    let path = format!("/organizations/{organization}");
    assert_eq!(api.patch(ADMIN, &path, value!({"source_topics": ["crm.*"]})).await.0, 200);
    api.topic("crm.new", &[(0, 1)]);
    source
}

/// Two organizations; the first one has everything, twice the applications.
async fn world() -> World {
    let (api, store) = Api::with_log();
    let tenant = api.tenant("asked for").await;
    let sibling = api.tenant("beside it").await;
    let organization = Uuid::from_u128(ORGANIZATION).to_string();
    let (status, other) = api.post(ADMIN, "/organizations", value!({"name": "other"})).await;
    assert_eq!(status, 201, "{other}");
    let other = field(&other, "organization_id");
    let (_, other_application) =
        api.post(ADMIN, "/applications", value!({"organization_id": other, "name": "other"})).await;
    let other_application = field(&other_application, "application_id");
    let (_, subscription) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let (event, attempt) = one_event(store.as_ref(), &tenant.id, &field(&subscription, "subscription_id")).await;

    let all = value!({"application_id": tenant.id, "filter": {}});
    let (status, job) = api.post(&tenant.token, "/dead_letters:redrive", all).await;
    assert_eq!(status, 202, "{job}");

    let source = source(&api, &organization, &tenant.id).await;
    rejected::written(
        &api,
        5,
        rejected::Whose::of(&organization, Some(&tenant.id), field(&source, "source_id").parse().ok()),
    );
    let (status, registry) = api.post(ADMIN, "/schema_registries", schema_registries::registry("main")).await;
    assert_eq!(status, 201, "{registry}");

    let secret = async |application: &str, role: &str| {
        let (_, made) =
            api.post(ADMIN, "/application_secrets", value!({"application_id": application, "role": role})).await;
        (field(&made, "token"), field(&made, "secret_id"))
    };
    let service = async |organization: &str, role: &str| {
        let body = value!({"organization_id": organization, "name": role, "role": role});
        let (_, made) = api.post(ADMIN, "/service_token", body).await;
        (field(&made, "biscuit"), field(&made, "token_id"))
    };
    let (_, asked_secret) = secret(&tenant.id, "viewer").await;
    let (_, asked_service) = service(&organization, "viewer").await;
    let revoked = service(&organization, "editor").await;
    let path = format!("/service_token/{}?organization_id={organization}", revoked.1);
    assert_eq!(api.delete(ADMIN, &path).await, 204);
    let callers = Callers {
        viewer_secret: secret(&tenant.id, "viewer").await.0,
        editor_secret: tenant.token,
        viewer_service: service(&organization, "viewer").await.0,
        editor_service: service(&organization, "editor").await.0,
        other_secret: secret(&other_application, "editor").await.0,
        other_service: service(&other, "editor").await.0,
        sibling_secret: sibling.token,
        ingest: vec![secret(&tenant.id, "ingest").await.0, service(&organization, "ingest").await.0],
        unknown: vec![Uuid::new_v4().to_string(), "nobody-has-this-token".into(), revoked.0],
    };
    let things = Things {
        organization,
        application: tenant.id,
        secret: asked_secret,
        service_token: asked_service,
        subscription: field(&subscription, "subscription_id"),
        event,
        attempt,
        job: field(&job, "job_id"),
        source: field(&source, "source_id"),
        registry: field(&registry, "schema_registry_id"),
        rejected: "0-5".to_owned(),
    };
    skip::hold(&api, &things.subscription, &[5]);
    World { api, things, callers }
}

fn field(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// Ids nobody has, of the same form.
fn nothing() -> Things {
    let id = || Uuid::now_v7().to_string();
    Things {
        organization: id(),
        application: id(),
        secret: id(),
        service_token: id(),
        subscription: id(),
        event: id(),
        attempt: id(),
        job: id(),
        source: id(),
        registry: id(),
        rejected: "0-999".to_owned(),
    }
}

impl World {
    async fn ask(&self, authorization: Option<&str>, row: &Row) -> (u16, Value) {
        let mut request = Request::builder().method(row.method.clone()).uri(format!("/api/v1{}", row.path));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let body = match &row.body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.api.send(request.body(body).unwrap()).await
    }

    /// The row's answer to this token; a refused one has written nothing.
    async fn expect(&self, who: &str, token: &str, row: &Row, status: u16) -> Value {
        let before = self.api.catalog.position();
        let (answer, body) = self.ask(Some(&format!("Bearer {token}")), row).await;
        assert_eq!(answer, status, "{} by {who}: {body}", row.operation);
        if status >= 400 || status == row.unseen && row.reach.is_foreign(who) {
            assert_eq!(self.api.catalog.position(), before, "{} by {who} has written", row.operation);
        }
        body
    }

    /// Who may not see what was rejected is answered as where it is not there, but for what names the job that it has asked for.
    async fn expect_unseen(&self, token: &str, row: &Row) {
        let nothing = rows(&nothing()).into_iter().find(|it| it.operation == row.operation).unwrap();
        let mut answers = [
            self.expect("another's token", token, row, row.unseen).await,
            self.expect("another's token", token, &nothing, row.unseen).await,
        ];
        for answer in &mut answers {
            for own in ["job_id", "created_at"] {
                answer.as_object_mut().map(|answer| answer.remove(own));
            }
        }
        assert_eq!(answers[0], answers[1], "{} tells whether it is there", row.operation);
    }

    /// Who may not see a thing learns nothing about whether it is there.
    async fn expect_alike(&self, who: &str, token: &str, row: &Row, status: u16) {
        let there = self.expect(who, token, row, status).await;
        let nothing = rows(&nothing()).into_iter().find(|it| it.operation == row.operation).unwrap();
        let absent = self.expect(who, token, &nothing, status).await;
        assert_eq!(there, absent, "{} by {who} tells whether it is there", row.operation);
    }
}

impl Reach {
    fn is_foreign(self, who: &str) -> bool {
        who.starts_with("another") && self != Self::Public
    }
}

/// Those who get the same answer everywhere.
async fn check_strangers(world: &World, row: &Row) {
    let asked = !matches!(row.reach, Reach::Public | Reach::Gateway);
    let status = |refusal| if asked { refusal } else { row.success };
    assert_eq!(world.ask(None, row).await.0, status(401), "{} by nobody", row.operation);
    assert_eq!(world.ask(Some("Basic YTpi"), row).await.0, status(400), "{} by a broken header", row.operation);
    for token in &world.callers.unknown {
        world.expect("an unknown token", token, row, status(403)).await;
    }
    for token in &world.callers.ingest {
        let status = if row.reach == Reach::Own { 200 } else { status(403) };
        world.expect("an ingest token", token, row, status).await;
    }
}

async fn check_row(world: &World, row: &Row) {
    let callers = &world.callers;
    check_strangers(world, row).await;
    match row.reach {
        Reach::Public | Reach::Gateway => {}
        Reach::Own => {
            for token in
                [&callers.viewer_secret, &callers.editor_secret, &callers.viewer_service, &callers.other_service]
            {
                world.expect("any token", token, row, 200).await;
            }
        }
        Reach::Operator => {
            world.expect("an application secret", &callers.editor_secret, row, 403).await;
            world.expect("a service token", &callers.editor_service, row, 403).await;
            world.expect("another's service token", &callers.other_service, row, 403).await;
        }
        Reach::Organization { writes } => {
            for secret in
                [&callers.editor_secret, &callers.viewer_secret, &callers.sibling_secret, &callers.other_secret]
            {
                world.expect_alike("an application secret", secret, row, 403).await;
            }
            world.expect_alike("another's service token", &callers.other_service, row, row.unseen).await;
            let viewer = if writes { 403 } else { row.success };
            world.expect("a viewer of the organization", &callers.viewer_service, row, viewer).await;
        }
        Reach::Application { writes } => {
            for secret in [&callers.sibling_secret, &callers.other_secret] {
                // A sibling sees its own row of a list of the organization it is in.
                let listed = row.operation == "applications.list" && secret == &callers.sibling_secret;
                if !listed {
                    world.expect_alike("another's application secret", secret, row, 403).await;
                }
            }
            world.expect_alike("another's service token", &callers.other_service, row, row.unseen).await;
            let viewer = if writes { 403 } else { row.success };
            world.expect("a viewer of the application", &callers.viewer_secret, row, viewer).await;
            world.expect("a viewer of the organization", &callers.viewer_service, row, viewer).await;
        }
        Reach::Rejected { writes } => {
            for token in [&callers.sibling_secret, &callers.other_secret, &callers.other_service] {
                world.expect_unseen(token, row).await;
            }
            let viewer = if writes { 403 } else { row.success };
            world.expect("a viewer of the application", &callers.viewer_secret, row, viewer).await;
            world.expect("a viewer of the organization", &callers.viewer_service, row, viewer).await;
        }
    }
}

/// Those who may; each in a world of its own, because one changes it.
async fn check_right(operation: &str) {
    for who in ["admin", "service", "secret"] {
        let world = world().await;
        let row = rows(&world.things).into_iter().find(|it| it.operation == operation).unwrap();
        let token = match (who, row.reach) {
            ("secret", Reach::Application { .. } | Reach::Rejected { .. }) => &world.callers.editor_secret,
            ("service", Reach::Application { .. } | Reach::Organization { .. } | Reach::Rejected { .. }) => {
                &world.callers.editor_service
            }
            ("admin", _) => ADMIN,
            _may_not => continue,
        };
        world.expect(who, token, &row, row.success).await;
    }
}

#[tokio::test]
async fn every_operation_answers_every_caller_as_documented() {
    let world = world().await;
    for row in rows(&world.things) {
        check_row(&world, &row).await;
        check_right(row.operation).await;
    }
}

#[test]
fn every_operation_of_the_document_has_a_row() {
    let document: Value = serde_json::from_str(&openapi::finish(&described().into_openapi()).unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let items = paths.values().flat_map(|item| item.as_object().unwrap().values());
    let documented: BTreeSet<String> = items.filter_map(|it| it["operationId"].as_str()).map(str::to_owned).collect();
    let rows: BTreeSet<String> = rows(&nothing()).iter().map(|row| row.operation.to_owned()).collect();
    assert!(!documented.is_empty());
    assert_eq!(documented, rows);
}

/// In its own application it may delete what is gone already: what another has is as good as gone, and stays.
#[tokio::test]
async fn a_deletion_in_the_own_application_does_not_tell_what_others_have() {
    let world = world().await;
    for token in [&world.callers.sibling_secret, &world.callers.other_secret] {
        let own = field(&world.api.get(token, "/token").await.1, "application_id");
        let mut answers = Vec::new();
        for id in [&world.things.subscription, &nothing().subscription] {
            let path = format!("/subscriptions/{id}?application_id={own}");
            let row = row("subscriptions.delete", Reach::Application { writes: WRITE }, 204, Method::DELETE, path);
            answers.push(world.expect("another's application secret", token, &row.unseen(204), 204).await);
        }
        assert_eq!(answers[0], answers[1]);
    }
}
