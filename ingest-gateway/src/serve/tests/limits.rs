//! Bad input of every kind gets the problem it deserves, and the process stays healthy.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use std::time::Duration;

use super::fakes::{Fixture, Reply, SECRET, event, request};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn an_announced_body_beyond_the_limit_is_refused_before_it_is_read() {
    let fixture = Fixture::with(|config| config.request_limit = 1_000, None).await;
    let big = vec![b'x'; 1_001];
    let reply = fixture.ask("POST", "/api/v1/event", Some(SECRET), "application/json", &big).await;
    assert_eq!((reply.status, reply.code()), (413, "body_too_large"));
    let head = format!(
        "POST /api/v1/event HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\nexpect: 100-continue\r\n\
         content-length: 100000000\r\n\r\n"
    );
    assert_eq!(fixture.raw(head.as_bytes()).await.status, 413, "no 100 Continue is sent");
}

#[tokio::test]
async fn a_streamed_body_beyond_the_limit_is_refused_when_it_passes_it() {
    let fixture = Fixture::with(|config| config.request_limit = 1_000, None).await;
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let head = format!(
        "POST /api/v1/event HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let reply = fixture.raw(format!("{head}{}0\r\n\r\n", chunk.repeat(3)).as_bytes()).await;
    assert_eq!((reply.status, reply.code()), (413, "body_too_large"));
}

#[tokio::test]
async fn chunked_bodies_are_put_together() {
    let fixture = Fixture::start().await;
    let body = event(r#","event_id":"chunked""#);
    let chunks: String = body.as_bytes().chunks(7).fold(String::new(), |all, chunk| {
        format!("{all}{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap())
    });
    let head = format!(
        "POST /api/v1/event HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let reply = fixture.raw(format!("{head}{chunks}0\r\n\r\n").as_bytes()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
}

#[tokio::test]
async fn a_slow_body_is_a_408() {
    let fixture = Fixture::with(|config| config.body_read_timeout = SHORT, None).await;
    let head = format!(
        "POST /api/v1/event HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\ncontent-length: 10\r\n\r\n{{"
    );
    let reply = fixture.raw(head.as_bytes()).await;
    assert_eq!((reply.status, reply.code(), reply.header("connection")), (408, "request_timeout", Some("close")));
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_closed() {
    let fixture = Fixture::with(
        |config| {
            config.header_read_timeout = SHORT;
            config.idle_timeout = SHORT * 2;
        },
        None,
    )
    .await;
    for sent in [&b""[..], b"P", b"POST /api/v1/event HTTP/1.1\r\nhost:"] {
        let mut socket = fixture.connect().await;
        socket.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset, but over.
        let _outcome = socket.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
    let mut served = fixture.connect().await;
    served.write_all(&request("POST", "/api/v1/event", SECRET, &event(""))).await.unwrap();
    assert_eq!(Reply::read(&mut served).await.status, 201);
    assert_eq!(served.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn floods_of_headers_are_a_431() {
    let fixture = Fixture::start().await;
    let flood = |count: usize, size: usize| {
        let headers: String = (0..count).map(|at| format!("x-{at}: {}\r\n", "v".repeat(size))).collect();
        format!("POST /api/v1/event HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n{headers}\r\n")
    };
    // The first two are ours, the others hyper's own.
    for (count, size) in [(70, 1), (20, 1_000), (1_000, 1), (1, 100_000)] {
        let reply = fixture.raw(flood(count, size).as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (431, "headers_too_large"), "{count} x {size}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(fixture.send(&event("")).await.status, 201);
}

#[tokio::test]
async fn bodies_in_flight_are_bounded_together() {
    let fixture = Fixture::with(
        |config| {
            config.request_limit = 1_000;
            config.max_in_flight_bytes = 1_000;
        },
        None,
    )
    .await;
    let permit = fixture.publisher.hold();
    let long = event(&format!(r#","metadata":{{"a":"{}"}}"#, "x".repeat(600)));
    let mut first = fixture.connect().await;
    first.write_all(&request("POST", "/api/v1/event", SECRET, &long)).await.unwrap();
    fixture.publisher.taken(1).await;
    let reply = fixture.send(&long).await;
    assert_eq!((reply.status, reply.code(), reply.header("retry-after")), (503, "overloaded", Some("1")));
    drop(permit);
    assert_eq!(Reply::read(&mut first).await.status, 201);
    assert_eq!(fixture.send(&long).await.status, 201, "the share came back");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_its_turn() {
    let fixture = Fixture::with(|config| config.max_connections = 1, None).await;
    let mut first = fixture.connect().await;
    first.write_all(&request("POST", "/api/v1/event", SECRET, &event(""))).await.unwrap();
    assert_eq!(Reply::read(&mut first).await.status, 201);
    let mut second = fixture.connect().await;
    second.write_all(&request("POST", "/api/v1/event", SECRET, &event(""))).await.unwrap();
    assert!(second.try_read(&mut [0]).is_err());
    drop(first);
    assert_eq!(Reply::read(&mut second).await.status, 201);
}

#[tokio::test]
async fn a_record_that_cannot_fit_the_topic_is_a_413() {
    let fixture = Fixture::start().await;
    let body = event(&format!(r#","metadata":{{"a":"{}"}}"#, "x".repeat(1_040_000)));
    let reply = fixture.send(&body).await;
    assert_eq!((reply.status, reply.code()), (413, "payload_too_large"));
}

#[tokio::test]
async fn a_refused_body_leaves_the_connection_usable() {
    let fixture = Fixture::start().await;
    let mut socket = fixture.connect().await;
    let body = event(&format!(r#","metadata":{{"a":"{}"}}"#, "x".repeat(300_000)));
    socket.write_all(&request("POST", "/api/v1/event", "nobody", &body)).await.unwrap();
    assert_eq!(Reply::read(&mut socket).await.status, 403);
    socket.write_all(&request("POST", "/api/v1/event", SECRET, &body)).await.unwrap();
    assert_eq!(Reply::read(&mut socket).await.status, 201);
}

#[tokio::test]
async fn rubbish_is_answered_or_closed_and_harms_nobody() {
    let fixture = Fixture::start().await;
    let rubbish = [&b"\0\0\0\0\r\n\r\n"[..], b"GET\r\n\r\n", b"POST /api/v1/event HTTP/9.9\r\n\r\n", &[0xff; 10_000]];
    for bytes in rubbish {
        let mut socket = fixture.connect().await;
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _outcome = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
    let deep = format!(r#"{{"event_type":"invoice.paid","payload":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let reply = fixture.send(&deep).await;
    assert_eq!((reply.status, reply.id(), reply.code()), (400, "Validation", "too_deep"));
    assert_eq!(fixture.send(&event("")).await.status, 201);
}
