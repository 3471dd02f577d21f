//! The client against a server on loopback that does what endpoints do.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chassis::tasks;
use http::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use testkit::dns::{NameServer, Reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::classify::Reach;
use crate::testing;

const LIMIT: Duration = Duration::from_secs(20);

fn client(allow: &[&str]) -> Client {
    let limits = ClientLimits {
        connect_timeout: Duration::from_secs(5),
        headers: 4_096,
        body: 16,
        idle_timeout: Duration::from_secs(60),
        idle_per_host: 8,
    };
    Client::new(testing::resolver(true, allow), limits, Tls::new(None).unwrap().plain().unwrap())
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
        let answer = client.send(post(&format!("{url}/small")), LIMIT, 0).await;
        assert_eq!((answer.verdict, answer.body.as_ref()), (Verdict::Delivered, b"fine".as_slice()));
        assert_eq!(client.send(post(&format!("{url}/ok")), LIMIT, 0).await.verdict, Verdict::Delivered);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let answer = client.send(post(&format!("{url}/huge")), LIMIT, 0).await;
    assert_eq!((answer.verdict, answer.body.len(), answer.error), (Verdict::Delivered, 16, None));
    client.send(post(&format!("{url}/ok")), LIMIT, 0).await;
    assert_eq!(connections.load(Ordering::SeqCst), 2, "the connection with an unread rest is not used again");
}

#[tokio::test]
async fn redirects_are_not_followed_and_errors_keep_their_body() {
    let (url, _) = server().await;
    let client = client(&["127.0.0.0/8"]);
    let moved = client.send(post(&format!("{url}/moved")), LIMIT, 0).await;
    assert_eq!(moved.status, Some(StatusCode::FOUND));
    assert!(matches!(moved.verdict, Verdict::Failed(_)));
    let broken = client.send(post(&format!("{url}/other")), LIMIT, 0).await;
    assert_eq!((broken.status, broken.body.as_ref()), (Some(StatusCode::INTERNAL_SERVER_ERROR), b"broken".as_slice()));
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_never_ends_is_none() {
    let client = client(&["127.0.0.0/8"]);
    let partial = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let broken = client.send(post(&raw(partial, true).await), LIMIT, 0).await;
    assert_eq!((broken.status, broken.error), (Some(StatusCode::OK), Some(NoAnswer::Reset)));
    assert!(matches!(broken.verdict, Verdict::Failed(_)), "a 200 without its body is no delivery");
    let hanging = client.send(post(&raw(partial, false).await), Duration::from_millis(50), 0).await;
    assert_eq!((hanging.status, hanging.error), (Some(StatusCode::OK), Some(NoAnswer::Timeout)));
    let silent = client.send(post(&raw(b"", false).await), Duration::from_millis(50), 0).await;
    assert_eq!((silent.status, silent.error), (None, Some(NoAnswer::Timeout)));
    let closed = client.send(post(&raw(b"", true).await), LIMIT, 0).await;
    assert_eq!((closed.status, closed.error), (None, Some(NoAnswer::Reset)));
    let nonsense = client.send(post(&raw(b"SSH-2.0-x\r\n\r\n", true).await), LIMIT, 0).await;
    assert_eq!(nonsense.error, Some(NoAnswer::Protocol));
}

#[tokio::test]
async fn what_cannot_be_reached_says_how() {
    let client = client(&["127.0.0.0/8"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let refused = client.send(post(&format!("http://{free}/")), LIMIT, 0).await;
    assert_eq!(refused.error, Some(NoAnswer::Connect));
    let unknown = client.send(post("http://does-not-exist.invalid/"), LIMIT, 0).await;
    assert_eq!(unknown.error, Some(NoAnswer::Dns));
    let (url, _) = server().await;
    let plain = client.send(post(&url.replace("http:", "https:")), LIMIT, 0).await;
    assert_eq!(plain.error, Some(NoAnswer::Tls));
}

/// Nothing can mend a literal; what a name server said may be mended.
#[tokio::test]
async fn what_is_refused_as_it_is_written_dies_and_what_a_name_resolves_to_fails() {
    for literal in ["http://localhost:1/", "http://127.0.0.1:1/", "http://[::1]:1/", "http://[::ffff:10.0.0.1]/"] {
        let answer = client(&[]).send(post(literal), LIMIT, 0).await;
        assert!(matches!(answer.verdict, Verdict::Refused(_)), "{literal}: {:?}", answer.verdict);
    }
    let names = NameServer::start().unwrap();
    names.answers("moves.example", Reply::addresses(&["10.0.0.1"]));
    let resolver = testing::resolver_at(&names, true, &["127.0.0.0/8"]);
    let client = Client::new(resolver, client(&[]).limits(), Tls::new(None).unwrap().plain().unwrap());
    let answer = client.send(post("http://moves.example:1/"), LIMIT, 0).await;
    assert_eq!(answer.error, Some(NoAnswer::Refused));
    let Verdict::Failed(failure) = answer.verdict else { panic!("{:?} is no failure", answer.verdict) };
    assert_eq!(failure.reach, Reach::Unknown, "it opens the circuit and says nothing of the network");
    let detail = answer.detail.unwrap();
    assert!(detail.contains("moves.example") && detail.contains("10.0.0.1 is a private address"), "{detail}");
}
