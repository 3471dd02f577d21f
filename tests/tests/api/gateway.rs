//! What the management API decides and the gateway does: who may send what, and how much of it.

use std::time::Duration;

use http::Method;
use kafka_dev::tether::Exit;
use schemas::ids::ApplicationId;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::http::{Answer, Http};
use testkit::pipeline::{Application, Pipeline, Role, Setup};
use testkit::wait::eventually;

const EVENT: &str = "/api/v1/event";
const SOON: Duration = Duration::from_secs(60);

async fn start(name: &str, gateways: usize) -> Pipeline {
    let idle = [Role::Delivery, Role::Retry];
    let setup = idle.into_iter().fold(Setup::new(name), |setup, role| setup.roles(role, 0));
    let replicas = i64::try_from(gateways).unwrap();
    setup.roles(Role::Gateway, gateways).set("gateway.replicas", replicas).start().await.unwrap()
}

async fn manage(pipeline: &Pipeline, method: Method, path: &str, body: Value, status: u16) -> Value {
    pipeline.managed(method, path, Some(&body), status).await.unwrap()
}

async fn send(pipeline: &Pipeline, gateway: usize, token: &str, event: &Value) -> Answer {
    pipeline.client().post(gateway, EVENT, token, event.to_string().into()).await.unwrap()
}

fn event(application: ApplicationId, payload: &Value) -> Value {
    json!({ "application_id": application, "event_type": "a.b", "payload": payload })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_schemas_are_obeyed_as_soon_as_they_are_written() {
    let mut pipeline = start("senders", 1).await;
    let own = pipeline.application(&["a.b"]).await.unwrap();
    let organization = json!({ "name": "Another", "uid": "another" });
    manage(&pipeline, Method::POST, "/organizations", organization, 201).await;
    let foreign = json!({ "organization_id": "another" });
    let foreign = pipeline.application_with(foreign, &["a.b"]).await.unwrap();
    service_tokens(&pipeline, &own, &foreign).await;
    schemas(&mut pipeline, &own).await;
    pipeline.finish(Expect::default()).await.unwrap();
}

async fn service_tokens(pipeline: &Pipeline, own: &Application, foreign: &Application) {
    let mut tokens = Vec::new();
    for role in ["ingest", "viewer", "editor"] {
        let body = json!({ "organization_id": "another", "name": role, "role": role });
        tokens.push(manage(pipeline, Method::POST, "/service_token", body, 201).await);
    }
    let text = |token: &Value, field: &str| token[field].as_str().unwrap().to_owned();
    let [ingest, viewer, editor] = [0, 1, 2].map(|at: usize| text(&tokens[at], "biscuit"));
    let (here, there) = (event(foreign.id, &json!(1)), event(own.id, &json!(1)));
    let nowhere = event(ApplicationId::from(uuid::Uuid::nil()), &json!(1));
    let unnamed = json!({ "event_type": "a.b", "payload": 1 });
    for (what, token, body, status) in [
        ("an ingest token", &ingest, &here, 201),
        ("an editor", &editor, &here, 201),
        ("a viewer", &viewer, &here, 403),
        ("an application that is not named", &ingest, &unnamed, 422),
        ("an application of others", &ingest, &there, 404),
        ("an application of nobody", &ingest, &nowhere, 404),
    ] {
        let answer = send(pipeline, 1, token, body).await;
        assert_eq!(answer.status, status, "{what}: {:?}", answer.body);
    }
    let revoked = format!("/service_token/{}?organization_id=another", text(&tokens[0], "token_id"));
    pipeline.managed(Method::DELETE, &revoked, None, 204).await.unwrap();
    let refused = async || (send(pipeline, 1, &ingest, &here).await.status == 403).then_some(());
    eventually("a revoked token opens nothing", SOON, refused).await.unwrap();
    let body = json!({ "organization_id": "another", "overlap_ms": 1 });
    let path = format!("/service_token/{}/rotate", text(&tokens[2], "token_id"));
    let new = manage(pipeline, Method::POST, &path, body, 201).await;
    assert_eq!(send(pipeline, 1, &text(&new, "biscuit"), &here).await.status, 201);
    let refused = async || (send(pipeline, 1, &editor, &here).await.status == 403).then_some(());
    eventually("a token whose time is over opens nothing", SOON, refused).await.unwrap();
}

/// Waits until the gateway has heard of what this answer says is written: what it took before that, the fan-out would reject.
async fn heard(pipeline: &mut Pipeline, answer: &Answer) {
    let written: f64 = answer.header("hookbus-consistency-token").unwrap().parse().unwrap();
    let gateway = &*pipeline.roles().process(Role::Gateway, 1).unwrap();
    let heard = async || gateway.metric("hookbus_catalog_position_offset").await.ok().filter(|at| *at >= written);
    eventually("a gateway that has heard of it", SOON, heard).await.unwrap();
}

async fn schemas(pipeline: &mut Pipeline, application: &Application) {
    let schema = json!({ "properties": { "items": { "items": { "required": ["id"] } } } });
    let body = json!({ "application_id": application.id, "name": "a.b", "schema": schema, "deprecated": true });
    let declared = pipeline.manage(1, Method::POST, "/event_types", Some(&body)).await.unwrap();
    assert_eq!(declared.status, 201, "{:?}", declared.body);
    heard(pipeline, &declared).await;
    let wrong = event(application.id, &json!({ "items": [{ "id": 1 }, {}] }));
    let refused = send(pipeline, 1, &application.token, &wrong).await;
    assert_eq!(refused.status, 422, "an event that does not fit is refused: {:?}", refused.body);
    let problem = refused.json().unwrap();
    assert!(problem["validation"]["payload/items/1"].is_array(), "{problem}");
    let right = event(application.id, &json!({ "items": [{ "id": 1 }] }));
    let answer = send(pipeline, 1, &application.token, &right).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-hookbus-event-type")), (201, Some("deprecated")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_a_limit_and_let_at_most_one_event_more_pass() {
    const QUOTA: usize = 5;
    let mut pipeline = start("limits", 2).await;
    let limits = json!({ "events_per_day": QUOTA });
    let limited = pipeline.application_with(json!({ "limits": limits }), &["a.b"]).await.unwrap();
    let free = pipeline.application(&["a.b"]).await.unwrap();
    let mut accepted = 0;
    for number in 0..4 * QUOTA {
        let gateway = 1 + number % 2;
        let answer = send(&pipeline, gateway, &limited.token, &event(limited.id, &json!(number))).await;
        if answer.status == 201 {
            accepted += 1;
            continue;
        }
        let problem = answer.json().unwrap();
        assert_eq!((&problem["id"], answer.status.as_u16()), (&json!("TooManyEventsToday"), 429), "{problem}");
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_eq!(accepted, QUOTA + 1, "each takes half of it, rounded up");
    assert_eq!(send(&pipeline, 1, &free.token, &event(free.id, &json!(1))).await.status, 201, "it is another's limit");

    let organization = pipeline.managed(Method::GET, "/organizations", None, 200).await.unwrap();
    let path = format!("/organizations/{}", organization[0]["organization_id"].as_str().unwrap());
    manage(&pipeline, Method::PATCH, &path, json!({ "limits": { "events_per_second": 0 } }), 200).await;
    let refused = async || {
        let answer = send(&pipeline, 1, &free.token, &event(free.id, &json!(1))).await;
        (answer.status == 429).then_some(answer)
    };
    let answer = eventually("the organization's limit counts too", SOON, refused).await.unwrap();
    assert_eq!(answer.json().unwrap()["id"], "RateLimited");
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    pipeline.finish(Expect::default()).await.unwrap();
}

async fn counted(pipeline: &mut Pipeline, gateway: usize, wanted: f64) {
    let gateway = &*pipeline.roles().process(Role::Gateway, gateway).unwrap();
    let counted =
        async || gateway.metric("hookbus_gateway_replicas").await.ok().filter(|count| (count - wanted).abs() < 0.5);
    eventually("gateways that count each other", SOON, counted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_that_nobody_has_counted_count_each_other() {
    const QUOTA: u64 = 10;
    let idle = [Role::Delivery, Role::Retry];
    let setup = idle.into_iter().fold(Setup::new("counted"), |setup, role| setup.roles(role, 0));
    let setup = setup.roles(Role::Gateway, 2).set("gateway.replicas", 0);
    let mut pipeline = setup.start().await.unwrap();
    let limits = json!({ "events_per_day": QUOTA });
    let limited = pipeline.application_with(json!({ "limits": limits }), &["a.b"]).await.unwrap();
    counted(&mut pipeline, 1, 2.0).await;
    counted(&mut pipeline, 2, 2.0).await;
    let statuses = async |pipeline: &Pipeline, tries: u32| {
        let mut statuses = Vec::new();
        for number in 0..tries {
            statuses.push(send(pipeline, 1, &limited.token, &event(limited.id, &json!(number))).await.status.as_u16());
        }
        statuses
    };
    assert_eq!(statuses(&pipeline, 3).await, [201; 3], "they stand for six of the two together");
    pipeline.roles().stop(Role::Gateway, 2).await.unwrap();
    counted(&mut pipeline, 1, 1.0).await;
    assert_eq!(statuses(&pipeline, 6).await, [201, 201, 201, 201, 429, 429], "what is left of the whole is one's own");
    pipeline.roles().start(Role::Gateway, 2).await.unwrap();
    counted(&mut pipeline, 1, 2.0).await;
    pipeline.finish(Expect::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_told_to_end_takes_events_until_balancers_have_seen_it() {
    let idle = [Role::Delivery, Role::Retry];
    let setup = idle.into_iter().fold(Setup::new("delay"), |setup, role| setup.roles(role, 0));
    // Longer than any test: only the second signal ends it.
    let delay = vec![("HOOKBUS__SHUTDOWN__DELAY_MS".to_owned(), "300000".to_owned())];
    let mut pipeline = setup.environment(Role::Gateway, delay).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let gateway = pipeline.roles().process(Role::Gateway, 1).unwrap();
    let ready = gateway.admin_url("/readyz");
    gateway.terminate().unwrap();
    let not_ready = async || {
        let answer = Http::default().get(&ready).await.ok()?;
        (answer.status == 503).then_some(answer.body)
    };
    assert_eq!(eventually("it is not ready any more", SOON, not_ready).await.unwrap(), "not ready: draining\n");
    let url = pipeline.client().url(1, EVENT).unwrap();
    let event = event(application.id, &json!(1));
    let answer = Http::default().json(Method::POST, &url, &application.token, Some(&event)).await.unwrap();
    assert_eq!(answer.status, 201, "a new connection is served as before");
    let gateway = pipeline.roles().process(Role::Gateway, 1).unwrap();
    gateway.terminate().unwrap();
    assert_eq!(gateway.ended(SOON).await.unwrap(), Exit::Code(1), "a second signal waits for nothing");
    pipeline.finish(Expect::default()).await.unwrap();
}
