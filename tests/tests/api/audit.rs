//! The audit as an operator reads it: who, what, from where, by which request, and never a secret.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use schemas::audit::Audit;
use serde_json::{Value, json};
use testkit::dev::Dev;
use testkit::http::Http;
use testkit::supervisor::Settings;

const REQUEST_ID: &str = "audit-test-1";

/// `hookbus dev` serves both APIs on one address, so this is also the way through the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_says_who_made_it_from_where_and_by_which_request() {
    let dev = Dev::start("audit", Settings::default()).await.unwrap();
    let (application, token) = (dev.info("application_id").unwrap(), dev.info("application_secret").unwrap());
    let subscription = create(&dev, application, token).await;
    let path = format!("/subscriptions/{subscription}?application_id={application}");
    let patch = json!({ "description": "changed" });
    for (method, body, status) in
        [(Method::PATCH, Some(&patch), 200), (Method::PATCH, Some(&patch), 200), (Method::DELETE, None, 204)]
    {
        let answer = dev.call(token, method.clone(), &path, body).await.unwrap();
        assert_eq!(answer.status, status, "{method}: {:?}", answer.body);
    }
    let raw = dev.command(&["audit", "--output", "json"]).await.unwrap();
    let records: Vec<Audit> = raw.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ours: Vec<&Audit> = records.iter().filter(|it| it.key.ends_with(&subscription)).collect();
    let actions: Vec<&str> = ours.iter().map(|it| it.action.as_str()).collect();
    assert_eq!(
        actions,
        ["subscription.create", "subscription.update", "subscription.delete"],
        "what changes nothing is none"
    );
    for pair in ours.windows(2) {
        assert_eq!(pair[0].after, pair[1].before);
    }
    assert!(ours.iter().all(|it| it.actor.starts_with("application_secret/")), "{ours:?}");
    assert!(ours.iter().all(|it| it.address.as_deref() == Some("127.0.0.1")), "{ours:?}");
    assert_eq!(ours[0].request_id.as_deref(), Some(REQUEST_ID));
    let seeded = records.iter().find(|it| it.action == "organization.create").expect("the first organization");
    assert_eq!((seeded.actor.as_str(), &seeded.address), ("system/seed", &None));
    for secret in [token, dev.info("admin_key").unwrap(), "sealed", "nonce"] {
        assert!(!raw.contains(secret), "a secret in the audit");
    }
    filters(&dev, &subscription).await;
    dev.stop().await.unwrap();
}

async fn filters(dev: &Dev, subscription: &str) {
    let lines = async |arguments: &[&str]| {
        let printed = dev.command(&[&["audit"], arguments].concat()).await.unwrap();
        // Below the heading.
        printed.lines().count() - 1
    };
    assert_eq!(lines(&["--object", subscription]).await, 3);
    assert_eq!(lines(&["--object", subscription, "--since", "1h"]).await, 3);
    assert_eq!(lines(&["--object", subscription, "--since", "2100-01-01T00:00:00Z"]).await, 0);
    assert_eq!(lines(&["--object", subscription, "--actor", "admin"]).await, 0);
}

async fn create(dev: &Dev, application: &str, token: &str) -> String {
    let body = json!({
        "application_id": application,
        "is_enabled": true,
        "event_types": ["invoice.paid"],
        "labels": {},
        "target": { "type": "http", "method": "POST", "url": "https://example.com/", "headers": {} },
    });
    let request = Request::post(format!("{}/subscriptions", dev.base().unwrap()))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("x-request-id", REQUEST_ID)
        .body(Full::new(Bytes::from(body.to_string())));
    let answer = Http::default().send(request.unwrap()).await.unwrap();
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    let made: Value = answer.json().unwrap();
    made["subscription_id"].as_str().unwrap().to_owned()
}
