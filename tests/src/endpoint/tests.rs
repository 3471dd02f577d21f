//! The fake endpoint, asked by a client of the other kind: it must do what its scripts say, or tests prove nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::*;
use crate::http::{Answer, Http};

const SOON: Duration = Duration::from_secs(60);

async fn post(endpoint: &Endpoint, path: &str, headers: &[(&str, &str)], body: &'static str) -> anyhow::Result<Answer> {
    let mut request = Request::post(endpoint.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Http::default().send(request.body(Full::new(Bytes::from_static(body.as_bytes())))?).await
}

#[tokio::test]
async fn replies_follow_the_script_of_the_nearest_folder() {
    let endpoint = Endpoint::start().unwrap();
    endpoint.answer("/a", "500x2 429+retry-after=3 200+text=done".parse().unwrap());
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(post(&endpoint, "/a/b", &[], "x").await.unwrap().status.as_u16());
    }
    assert_eq!(statuses, [500, 500, 429, 200]);
    assert_eq!(post(&endpoint, "/a/c", &[], "x").await.unwrap().status, 500, "each path counts for itself");
    assert_eq!(post(&endpoint, "/other", &[], "x").await.unwrap().status, 204);
    assert_eq!(post(&endpoint, "/a/b", &[], "x").await.unwrap().body, "done");
    let calls: Vec<u32> = endpoint.requests("/a/b").iter().map(|seen| seen.call).collect();
    assert_eq!(calls, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn attempts_of_each_delivery_are_counted_apart() {
    let endpoint = Endpoint::start().unwrap();
    endpoint.script("/a", "500 204").unwrap();
    for (delivery, status) in [("one", 500), ("two", 500), ("one", 204), ("two", 204)] {
        let answer =
            post(&endpoint, "/a", &[("x-hookbus-delivery-id", delivery), ("x-hookbus-attempt", "3")], "x").await;
        assert_eq!(answer.unwrap().status, status);
    }
    let seen = &endpoint.requests("/a")[1];
    assert_eq!((seen.delivery(), seen.attempt()), (Some("two"), Some(3)));
    assert_eq!(seen.answered().unwrap().status, 500);
}

#[tokio::test]
async fn faults_reach_the_client_as_faults() {
    let endpoint = Endpoint::start().unwrap();
    for (path, script) in [("/reset", "reset"), ("/cut", "200+text=0123456789+cut")] {
        endpoint.answer(path, script.parse().unwrap());
        let error = post(&endpoint, path, &[], "x").await.unwrap_err();
        let seen = &endpoint.requests(path)[0];
        assert!(seen.complete && !seen.succeeded(), "{path}: {error:#}");
    }
    endpoint.answer("/hang", "hang".parse().unwrap());
    let hanging = post(&endpoint, "/hang", &[], "x");
    let arrived = endpoint.wait_for("/hang", 1, SOON);
    tokio::select! {
        answer = hanging => panic!("an answer: {answer:?}"),
        arrived = arrived => assert!(arrived.unwrap()[0].answered().is_none()),
    }
}

#[tokio::test]
async fn big_and_slow_bodies_arrive_whole() {
    let endpoint = Endpoint::start().unwrap();
    endpoint.answer("/huge", "200+huge=3m".parse().unwrap());
    assert_eq!(post(&endpoint, "/huge", &[], "x").await.unwrap().body.len(), 3 * 1024 * 1024);
    endpoint.answer("/drip", "200+drip=1ms".parse().unwrap());
    assert_eq!(post(&endpoint, "/drip", &[], "x").await.unwrap().body.len(), 1_000);
}

#[tokio::test]
async fn a_closed_endpoint_refuses_until_it_is_opened() {
    let endpoint = Endpoint::start().unwrap();
    post(&endpoint, "/", &[], "x").await.unwrap();
    endpoint.close();
    let refused = || async { post(&endpoint, "/", &[], "x").await.is_err().then_some(()) };
    crate::wait::eventually("a refusal", SOON, refused).await.unwrap();
    endpoint.open();
    let served = || async { post(&endpoint, "/", &[], "x").await.ok() };
    crate::wait::eventually("an answer", SOON, served).await.unwrap();
}

#[tokio::test]
async fn signatures_are_verified_with_the_secret_of_the_path() {
    let endpoint = Endpoint::start().unwrap();
    let (good, other) = ("3f2b7f0e-7a0c-4a3b-9d57-0a9d8d6f7c11", "another secret");
    endpoint.expect_secret("/good", good).unwrap();
    endpoint.expect_secret("/both", other).unwrap();
    endpoint.expect_secret("/both", good).unwrap();
    endpoint.expect_secret("/bad", other).unwrap();
    let secret = signing::Secret::parse(good).unwrap();
    let now = (kafka::clock::now_ms() / 1_000).to_string();
    let body = "{\"a\": 1}";
    let signer = signing::Signer::new(&[secret], Vec::new(), signing::Schemes::default()).unwrap();
    let signature = signer.standard("msg_1", now.parse().unwrap(), &[body.as_bytes()]).unwrap();
    let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", &now), ("webhook-signature", &signature)];
    for path in ["/good", "/both", "/bad", "/free"] {
        post(&endpoint, path, &headers, body).await.unwrap();
    }
    post(&endpoint, "/good/unsigned", &[], body).await.unwrap();
    let of = |path: &str| endpoint.requests(path)[0].signature.clone();
    assert_eq!(of("/good"), Signature::Valid { standard: true, hook0: false });
    assert_eq!(of("/both"), Signature::Valid { standard: true, hook0: false });
    assert_eq!(of("/bad"), Signature::Invalid("webhook-signature: no signature matches".into()));
    assert_eq!(of("/free"), Signature::Unchecked);
    assert_eq!(of("/good/unsigned"), Signature::Invalid("no signature".into()));
}

#[tokio::test]
async fn a_request_that_breaks_off_is_seen_as_incomplete() {
    use tokio::io::AsyncWriteExt;
    let endpoint = Arc::new(Endpoint::start().unwrap());
    let mut stream = tokio::net::TcpStream::connect(endpoint.address()).await.unwrap();
    stream.write_all(b"POST /torn HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await.unwrap();
    drop(stream);
    let torn = endpoint.wait_until("/torn", "a torn request", SOON, |seen| !seen.is_empty()).await.unwrap();
    assert!(!torn[0].complete);
    assert_eq!(endpoint.count("/torn"), 0);
}
