//! One address for events and management, as Hook0's clients know it: paths however they are spelled, ids as they can read them.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use schemas::identity::{event_uuid, gateway_source};
use schemas::ids::ApplicationId;
use serde_json::{Value, json};
use testkit::dev::Dev;
use testkit::http::{Answer, Http};
use testkit::supervisor::Settings;
use uuid::Uuid;

/// The demo application's event type.
const TYPE: &str = "invoice.paid";

fn event(application: &str, id: &str) -> Value {
    json!({ "application_id": application, "event_type": TYPE, "event_id": id, "payload": {} })
}

async fn send(dev: &Dev, token: &str, body: &Value, hook0: bool) -> Answer {
    let request = Request::post(format!("{}/event", dev.base().unwrap()))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    let request =
        if hook0 { request.header("hook0-client-options", "attempts=1,backoff=0,ceiling=0,budget=0") } else { request };
    Http::default().send(request.body(Full::new(Bytes::from(body.to_string()))).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slashes_too_many_lead_to_the_same_places_and_ids_keep_their_shape() {
    let dev = Dev::start("one-port", Settings::default()).await.unwrap();
    let application = dev.info("application_id").unwrap().to_owned();
    let token = dev.info("application_secret").unwrap().to_owned();
    slashes(&dev, &application, &token).await;
    ids(&dev, &application, &token).await;
    dev.stop().await.unwrap();
}

async fn slashes(dev: &Dev, application: &str, token: &str) {
    let places = [
        (Method::GET, format!("/applications/{application}")),
        (Method::GET, format!("/applications/{application}/")),
        (Method::GET, format!("///applications//{application}")),
        (Method::GET, format!("/event_types/?application_id={application}")),
        (Method::GET, format!("//event_types?application_id={application}")),
        // A part that is escaped is the same part.
        (Method::GET, format!("/event_types/invoice%2Epaid?application_id={application}")),
        (Method::GET, "/instance/".to_owned()),
    ];
    for (method, path) in places {
        let answer = dev.call(token, method.clone(), &path, None).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {:?}", answer.body);
    }
    for (number, path) in ["/event", "/event/", "//event", "//event//"].into_iter().enumerate() {
        let body = event(application, &format!("slash-{number}"));
        let answer = dev.call(token, Method::POST, path, Some(&body)).await.unwrap();
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {:?}", answer.body);
    }
    // An escaped slash is no slash: this is a type that is not there, not a path that is not there.
    let path = format!("/event_types/invoice%2Fpaid?application_id={application}");
    let answer = dev.call(token, Method::GET, &path, None).await.unwrap();
    let problem = answer.json().unwrap();
    assert_eq!((answer.status, &problem["id"]), (StatusCode::NOT_FOUND, &json!("NotFound")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("event type"), "{problem}");
    let nowhere = dev.call(token, Method::GET, "/no/such/route", None).await.unwrap();
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    assert_eq!(nowhere.header("content-type"), Some("application/problem+json"));
}

/// Hook0's clients decode an event's id as a UUID; everybody else gets the id that was sent.
async fn ids(dev: &Dev, application: &str, token: &str) {
    let ours = send(dev, token, &event(application, "evt_ours"), false).await;
    assert_eq!((ours.status, &ours.json().unwrap()["event_id"]), (StatusCode::CREATED, &json!("evt_ours")));
    let theirs = send(dev, token, &event(application, "evt_theirs"), true).await;
    let id: ApplicationId = application.parse().unwrap();
    let shown = event_uuid(id, &gateway_source(id), "evt_theirs");
    assert_eq!((theirs.status, &theirs.json().unwrap()["event_id"]), (StatusCode::CREATED, &json!(shown)));
    let again = send(dev, token, &event(application, "evt_theirs"), true).await;
    assert_eq!((again.status, &again.json().unwrap()["id"]), (StatusCode::CONFLICT, &json!("EventAlreadyIngested")));
    let plain = Uuid::now_v7();
    let uuid = send(dev, token, &event(application, &plain.to_string()), true).await;
    assert_eq!((uuid.status, &uuid.json().unwrap()["event_id"]), (StatusCode::CREATED, &json!(plain)));
}
