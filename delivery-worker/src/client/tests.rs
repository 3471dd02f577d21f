//! The client against a server on loopback that does what endpoints do.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chassis::tasks;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use testkit::dns::{NameServer, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::classify::Reach;
use crate::pool::PoolLimits;
use crate::testing;

const LIMIT: Duration = Duration::from_secs(60);
/// Of attempts that must run into it behind a head that must come before it, also on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

fn client(allow: &[&str]) -> Client {
    let pool = PoolLimits::new(Duration::from_secs(5), Duration::from_secs(60), 64);
    let limits = ClientLimits::new(4_096, 16, pool);
    Client::new(testing::resolver(true, allow), limits, Tls::new(None).unwrap().plain().unwrap())
}

/// Sends a request to a URL.
async fn send(client: &Client, url: &str, timeout: Duration) -> Answer {
    let request = || post(url);
    client.send(request(), || Ok(request()), None, timeout, 0).await
}

fn post(url: &str) -> Request<Full<Bytes>> {
    Request::post(url).body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}

/// A server that answers by path; counts its connections.
async fn server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    drop(tasks::spawn("test server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let service = service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request)) });
            let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(tasks::spawn("test connection", async move {
                let _closed_by_the_client = serve.await;
            }));
        }
    }));
    (format!("http://{address}"), connections)
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body): (u16, &[u8]) = match request.uri().path() {
        "/ok" => (204, b""),
        "/small" => (200, b"fine"),
        "/huge" => (200, &[b'x'; 100_000]),
        "/moved" => (302, b""),
        _other => (500, b"broken"),
    };
    Response::builder().status(status).header("location", "/ok").body(Full::new(Bytes::from_static(body))).unwrap()
}

/// A server that reads a request and then writes these bytes and closes (or waits for ever).
async fn raw(bytes: &'static [u8], closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(tasks::spawn("test raw server", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 1_024];
        let _request = stream.read(&mut buffer).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        if !closes {
            std::future::pending::<()>().await;
        }
    }));
    format!("http://{address}/")
}

#[tokio::test]
async fn answers_are_kept_up_to_the_limit_and_connections_are_used_again() {
    let (url, connections) = server().await;
    let client = client(&["127.0.0.0/8"]);
    for _ in 0..5 {
        let answer = send(&client, &format!("{url}/small"), LIMIT).await;
        assert_eq!((answer.verdict, answer.body.as_ref()), (AttemptVerdict::Delivered, b"fine".as_slice()));
        assert_eq!(send(&client, &format!("{url}/ok"), LIMIT).await.verdict, AttemptVerdict::Delivered);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let answer = send(&client, &format!("{url}/huge"), LIMIT).await;
    assert_eq!((answer.verdict, answer.body.len(), answer.error), (AttemptVerdict::Delivered, 16, None));
    send(&client, &format!("{url}/ok"), LIMIT).await;
    assert_eq!(connections.load(Ordering::SeqCst), 2, "the connection with an unread rest is not used again");
}

#[tokio::test]
async fn redirects_are_not_followed_and_errors_keep_their_body() {
    let (url, _) = server().await;
    let client = client(&["127.0.0.0/8"]);
    let moved = send(&client, &format!("{url}/moved"), LIMIT).await;
    assert_eq!(moved.status, Some(StatusCode::FOUND));
    assert!(matches!(moved.verdict, AttemptVerdict::Failed(_)));
    let broken = send(&client, &format!("{url}/other"), LIMIT).await;
    assert_eq!((broken.status, broken.body.as_ref()), (Some(StatusCode::INTERNAL_SERVER_ERROR), b"broken".as_slice()));
}

#[tokio::test]
async fn status_and_head_decide_and_what_breaks_off_is_noted() {
    let client = client(&["127.0.0.0/8"]);
    let partial = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let broken = send(&client, &raw(partial, true).await, LIMIT).await;
    assert_eq!((broken.status, broken.error), (Some(StatusCode::OK), Some(NoAnswer::Reset)));
    assert_eq!(broken.verdict, AttemptVerdict::Delivered, "the endpoint has taken it");
    assert!(broken.detail.unwrap().starts_with("body: connection closed (127.0.0.1:"));
    assert_eq!(broken.body, "abc");
    let hanging = send(&client, &raw(partial, false).await, SHORT).await;
    assert_eq!((hanging.status, hanging.error), (Some(StatusCode::OK), Some(NoAnswer::Timeout)));
    assert_eq!((hanging.verdict, hanging.body), (AttemptVerdict::Delivered, Bytes::from_static(b"abc")));
    let silent = send(&client, &raw(b"", false).await, SHORT).await;
    assert_eq!((silent.status, silent.error), (None, Some(NoAnswer::Timeout)));
    let detail = silent.detail.unwrap();
    assert!(detail.starts_with("head: timed out after 2000 ms (127.0.0.1:"), "{detail}");
    assert!(detail.ends_with(", HTTP/1.1, new connection)"), "{detail}");
    let closed = send(&client, &raw(b"", true).await, LIMIT).await;
    assert_eq!((closed.status, closed.error), (None, Some(NoAnswer::Reset)));
    let nonsense = send(&client, &raw(b"SSH-2.0-x\r\n\r\n", true).await, LIMIT).await;
    assert_eq!(nonsense.error, Some(NoAnswer::Protocol));
}

#[tokio::test]
async fn what_cannot_be_reached_says_how() {
    let client = client(&["127.0.0.0/8"]);
    // It is held for the time of the test and nobody listens: a free port might be taken meanwhile.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = held.local_addr().unwrap();
    let refused = send(&client, &format!("http://{free}/"), LIMIT).await;
    assert_eq!(refused.error, Some(NoAnswer::Connect));
    assert_eq!(refused.detail, Some(format!("connect: connection refused ({free})")));
    let way = refused.way.unwrap();
    let steps = |way: Way| [way.times.dns_ms, way.times.connect_ms, way.times.tls_ms].map(|time| time.is_some());
    assert_eq!((way.to, way.protocol, steps(way)), (free, None, [true, true, false]));
    let unknown = send(&client, "http://does-not-exist.invalid/", LIMIT).await;
    assert_eq!((unknown.error, unknown.way, unknown.head_at), (Some(NoAnswer::Dns), None, None));
    let (url, _) = server().await;
    let plain = send(&client, &url.replace("http:", "https:"), LIMIT).await;
    assert_eq!(plain.error, Some(NoAnswer::Tls));
    assert!(plain.detail.unwrap().starts_with("TLS: not TLS: "));
    let way = plain.way.unwrap();
    assert_eq!((format!("http://{}", way.to), way.protocol, steps(way)), (url, None, [true; 3]));
}

/// Nothing can mend a literal; what a name server said may be mended.
#[tokio::test]
async fn what_is_refused_as_it_is_written_dies_and_what_a_name_resolves_to_fails() {
    for literal in ["http://localhost:1/", "http://127.0.0.1:1/", "http://[::1]:1/", "http://[::ffff:10.0.0.1]/"] {
        let answer = send(&client(&[]), literal, LIMIT).await;
        assert!(matches!(answer.verdict, AttemptVerdict::Refused(_)), "{literal}: {:?}", answer.verdict);
    }
    let names = NameServer::start().unwrap();
    names.answers("moves.example", Reply::addresses(&["10.0.0.1"]));
    let resolver = testing::resolver_at(&names, true, &["127.0.0.0/8"]);
    let client = Client::new(resolver, client(&[]).limits(), Tls::new(None).unwrap().plain().unwrap());
    let answer = send(&client, "http://moves.example:1/", LIMIT).await;
    assert_eq!(answer.error, Some(NoAnswer::Refused));
    let AttemptVerdict::Failed(failure) = answer.verdict else { panic!("{:?} is no failure", answer.verdict) };
    assert_eq!(failure.reach, Reach::Unknown, "it opens the circuit and says nothing of the network");
    let detail = answer.detail.unwrap();
    assert!(detail.contains("moves.example") && detail.contains("10.0.0.1 is a private address"), "{detail}");
}

#[tokio::test]
async fn a_head_decides_whatever_its_body_does() {
    let client = client(&["127.0.0.0/8"]);
    let gone = b"HTTP/1.1 410 Gone\r\ncontent-length: 9\r\n\r\nx";
    assert!(matches!(send(&client, &raw(gone, true).await, LIMIT).await.verdict, AttemptVerdict::Gone(_)));
    let wish = b"HTTP/1.1 500 X\r\nwebhook-delivery: abort-message\r\ntransfer-encoding: chunked\r\n\r\nzz";
    assert_eq!(send(&client, &raw(wish, true).await, LIMIT).await.verdict, AttemptVerdict::Aborted);
    let slow = b"HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 9\r\n\r\n";
    let slow = send(&client, &raw(slow, true).await, LIMIT).await.verdict;
    assert!(matches!(slow, AttemptVerdict::Failed(failure) if failure.retry_after == Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn heads_are_read_as_leniently_as_browsers_do() {
    let client = client(&["127.0.0.0/8"]);
    for untidy in [
        b"HTTP/1.1 200 OK\r\nx-folded: a\r\n  b\r\ncontent-length: 0\r\n\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nx-space : a\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nfine",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
    ] {
        let answer = send(&client, &raw(untidy, true).await, LIMIT).await;
        assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{}: {answer:?}", String::from_utf8_lossy(untidy));
    }
}

/// A date is a time of the wall when the answer comes, and not when its request went out.
#[tokio::test]
async fn a_date_to_come_back_at_counts_from_the_head() {
    let client = client(&["127.0.0.0/8"]);
    let head = b"HTTP/1.1 503 X\r\nretry-after: Wed, 21 Oct 2015 07:29:40 GMT\r\ncontent-length: 0\r\n\r\n";
    let deadline = clock::instant() + LIMIT;
    let answered = client.head(client.begin(post(&raw(head, false).await), None), LIMIT, deadline).await.unwrap();
    // The attempt began 50 s ago, at 07:28:00.
    let started = clock::instant().checked_sub(Duration::from_secs(50)).unwrap();
    let answer = match client.answer(answered, deadline, (started, 1_445_412_480_000)) {
        Ok(answer) => answer,
        Err(reading) => reading.await,
    };
    let AttemptVerdict::Failed(failure) = answer.verdict else { panic!("{:?} is no failure", answer.verdict) };
    assert!(failure.retry_after.unwrap() <= Duration::from_secs(50), "{failure:?}");
}
