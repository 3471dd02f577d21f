//! Outcome 8: bad input of every kind gets the problem it deserves, and the gateway stays healthy.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use testkit::Expect;
use testkit::http::Http;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(60);

/// An event with one field replaced or added.
fn body(application: &Application, field: &str, value: serde_json::Value) -> String {
    let mut event = json!({ "application_id": application.id, "event_type": "a.b", "payload": { "n": 1 } });
    event[field] = value;
    event.to_string()
}

async fn started() -> (Pipeline, Application) {
    // Short for who sends slowly, and long for a large body on a busy machine.
    let setup =
        Setup::new("bad-input").set("gateway.body_read_timeout_ms", 3_000).set("gateway.header_read_timeout_ms", 3_000);
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    (pipeline, application)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_the_problem_they_deserve_and_the_gateway_stays_healthy() {
    let (mut pipeline, application) = started().await;
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let stranger = pipeline.application(&["a.b"]).await.unwrap();
    refused_bodies(&pipeline, &application, &stranger).await;
    refused_requests(&pipeline, &application).await;
    refused_connections(&mut pipeline, &application).await;

    let event = Event::new("healthy", "a.b");
    assert_eq!(pipeline.client().send(1, &application, &event).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&subscription.path, 1, SOON).await.unwrap();
    let livez = pipeline.roles().process(Role::Gateway, 1).unwrap().admin_url("/livez");
    assert_eq!(Http::default().get(&livez).await.unwrap().status, 200);
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.accepted, 1, "nothing of all this was accepted");
}

async fn refused_bodies(pipeline: &Pipeline, application: &Application, stranger: &Application) {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = body(application, "payload", json!(1)).replace("\"payload\":1", &format!("\"payload\":{deep}"));
    let many: serde_json::Value =
        (0..11).map(|n| (n.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let own = &application.token;
    let cases = [
        ("broken JSON", "{\"event_type\":".to_owned(), own, 400, "JsonPayload"),
        ("no body", String::new(), own, 400, "JsonPayload"),
        ("a list", "[]".to_owned(), own, 400, "JsonPayload"),
        ("an unknown field", body(application, "event_typ", json!("a.b")), own, 422, "Validation"),
        ("an unknown type", body(application, "event_type", json!("a.c")), own, 400, "EventTypeDoesNotExist"),
        ("a type of one part", body(application, "event_type", json!("a")), own, 422, "Validation"),
        ("an id with spaces", body(application, "event_id", json!("a b")), own, 422, "Validation"),
        ("too many labels", body(application, "labels", many), own, 422, "Validation"),
        ("a label that is a number", body(application, "labels", json!({ "a": 1 })), own, 422, "Validation"),
        ("a string without its type", body(application, "payload", json!("text")), own, 422, "Validation"),
        (
            "no application secret",
            body(application, "event_id", json!("x")),
            &"nonsense".to_owned(),
            403,
            "AuthInvalid",
        ),
        ("a foreign token", body(application, "event_id", json!("x")), &stranger.token, 403, ""),
        ("a large payload", body(application, "payload", json!(["x".repeat(700_000)])), own, 413, "Validation"),
        ("a large request", body(application, "payload", json!(["x".repeat(2_100_000)])), own, 413, "Validation"),
        ("deep nesting", deep, own, 400, "Validation"),
    ];
    for (what, body, token, status, id) in cases {
        let answer = pipeline.client().post(1, "/api/v1/event", token, body.into()).await.unwrap();
        assert_eq!(answer.status, status, "{what}: {:?}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        let problem = answer.json().unwrap();
        assert!(problem["id"].as_str().unwrap().starts_with(id), "{what}: {problem}");
        assert_eq!(problem["status"], status, "{what}");
    }
}

async fn refused_requests(pipeline: &Pipeline, application: &Application) {
    let http = Http::default();
    let client = pipeline.client();
    let url = client.url(1, "/api/v1/event").unwrap();
    let bearer = format!("Bearer {}", application.token);
    let good = Bytes::from(body(application, "event_id", json!("x")));
    let request = |method: &str, token: Option<&str>, media: &str| {
        let mut builder = Request::builder().method(method).uri(&url).header("content-type", media);
        if let Some(token) = token {
            builder = builder.header("authorization", token);
        }
        builder.body(Full::new(good.clone())).unwrap()
    };
    let cases = [
        ("no token", request("POST", None, "application/json"), 401),
        ("a scheme of its own", request("POST", Some("Basic eDp5"), "application/json"), 400),
        ("another method", request("PUT", Some(&bearer), "application/json"), 405),
        ("another media type", request("POST", Some(&bearer), "text/html"), 415),
    ];
    for (what, request, status) in cases {
        let answer = http.send(request).await.unwrap();
        assert_eq!(answer.status, status, "{what}: {:?}", answer.body);
    }
}

/// What only a bare connection can do.
async fn refused_connections(pipeline: &mut Pipeline, application: &Application) {
    let url = pipeline.client().url(1, "").unwrap();
    let address = url.trim_start_matches("http://").to_owned();
    let head = format!("POST /api/v1/event HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n", application.token);
    let slow_body = format!("{head}content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{");
    assert!(talk(&address, &slow_body).await.starts_with("HTTP/1.1 408"), "a slow body");
    let flood: String = (0..2_000).map(|n| format!("x-{n}: y\r\n")).collect();
    assert!(talk(&address, &format!("{head}{flood}\r\n")).await.starts_with("HTTP/1.1 431"), "a flood of headers");
    let long = format!("{head}x: {}\r\n\r\n", "y".repeat(100_000));
    assert!(talk(&address, &long).await.starts_with("HTTP/1.1 431"), "a long header");
    let slow_head = talk(&address, "POST /api/v1/event HTTP/1.1\r\nhost:").await;
    assert!(slow_head.is_empty() || slow_head.starts_with("HTTP/1.1 408"), "a slow head: {slow_head}");
    assert!(
        talk(&address, "\u{16}\u{3}\u{1} what is this\r\n\r\n").await.starts_with("HTTP/1.1 400"),
        "no HTTP at all"
    );
}

/// Sends text and reads until the other side closes.
async fn talk(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    stream.write_all(text.as_bytes()).await.ok();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(SOON, read).await.expect("the server closes the connection").ok();
    String::from_utf8_lossy(&answer).into_owned()
}
