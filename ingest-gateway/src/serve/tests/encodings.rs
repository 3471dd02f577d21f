//! Encoded requests over a socket, in every form that events come in.

use super::fakes::{Fixture, Reply, SECRET, event};
use crate::encoding::tests::{gzip, zstd};

async fn send(fixture: &Fixture, path: &str, headers: &str, body: &[u8]) -> Reply {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {SECRET}\r\n{headers}\r\n\
         content-length: {length}\r\n\r\n"
    );
    fixture.raw(&[head.as_bytes(), body].concat()).await
}

#[tokio::test]
async fn every_form_is_decoded_before_it_is_read() {
    let fixture = Fixture::start().await;
    let payload = |id: &str| format!(r#"{{"event_type":"invoice.paid","event_id":"{id}","payload":{{ "a": 1 }}}}"#);
    let cloud = |id: &str| {
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"invoice.paid","data":{{ "a": 1 }}}}"#)
    };
    let binary = "ce-specversion: 1.0\r\nce-source: /s\r\nce-type: invoice.paid\r\nce-id: 5\r\ncontent-type";
    let cases = [
        ("/api/v1/event", "content-type: application/json", payload("1")),
        ("/api/v1/events:batch", "content-type: application/json", format!(r#"{{"events":[{}]}}"#, payload("2"))),
        ("/api/v1/events:batch", "content-type: application/x-ndjson", payload("3")),
        ("/api/v1/event", "content-type: application/cloudevents+json", cloud("4")),
        ("/api/v1/event", &format!("{binary}: application/json"), "{ \"a\": 1 }".to_owned()),
        ("/api/v1/events:batch", "content-type: application/cloudevents-batch+json", format!("[{}]", cloud("6"))),
    ];
    for (index, (path, headers, body)) in cases.into_iter().enumerate() {
        let (name, encoded) =
            if index % 2 == 0 { ("gzip", gzip(body.as_bytes())) } else { ("zstd", zstd(body.as_bytes())) };
        let reply = send(&fixture, path, &format!("{headers}\r\ncontent-encoding: {name}"), &encoded).await;
        assert!([200, 201].contains(&reply.status), "{headers}: {reply:?}");
        let record = fixture.publisher.taken(index + 1).await.remove(index);
        assert_eq!(record.value.as_deref(), Some(&b"{ \"a\": 1 }"[..]), "{headers}: {reply:?}");
    }
}

#[tokio::test]
async fn an_encoding_nobody_knows_is_a_415_that_names_it_and_what_is_accepted() {
    let fixture = Fixture::start().await;
    let headers = "content-type: application/json\r\ncontent-encoding: br";
    let reply = send(&fixture, "/api/v1/event", headers, event("").as_bytes()).await;
    assert_eq!((reply.status, reply.code()), (415, "unsupported_encoding"));
    assert_eq!(reply.header("accept-encoding"), Some("gzip, zstd"));
    assert!(reply.body["detail"].as_str().unwrap().contains("`br`"), "{reply:?}");
    assert_eq!(fixture.publisher.count(), 0);
}

#[tokio::test]
async fn the_limits_hold_for_what_was_decoded() {
    let fixture = Fixture::with(|config| config.request_limit = 10_000, None).await;
    let spaces = " ".repeat(10_000);
    for (name, encoded) in [("gzip", gzip(spaces.as_bytes())), ("zstd", zstd(spaces.as_bytes()))] {
        let headers = format!("content-type: application/json\r\ncontent-encoding: {name}");
        let reply = send(&fixture, "/api/v1/event", &headers, &encoded).await;
        assert_eq!((reply.status, reply.id()), (400, "JsonPayload"), "exactly the limit is decoded, and no JSON");
    }
    let spaces = " ".repeat(10_001);
    for (name, encoded) in [("gzip", gzip(spaces.as_bytes())), ("zstd", zstd(spaces.as_bytes()))] {
        let headers = format!("content-type: application/json\r\ncontent-encoding: {name}");
        let reply = send(&fixture, "/api/v1/event", &headers, &encoded).await;
        assert_eq!((reply.status, reply.code()), (413, "body_too_large"), "{name}");
    }
}
