//! The server on loopback, byte by byte.

use std::net::SocketAddr;

use axum::routing::post;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

/// A server whose one route answers with the body's length, after telling that it began.
async fn start(began: Arc<Notify>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let count = async move |request: axum::extract::Request| {
        began.notify_one();
        let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
        (StatusCode::OK, body.len().to_string())
    };
    let router = Router::new().route("/count", post(count));
    let watched = shutdown.clone();
    let config = crate::api::test_config(10);
    let serving = tasks::spawn("server", async move { serve(&config, router, listener, watched).await });
    Running { address, shutdown, serving }
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_request_whose_body_is_still_coming_at_shutdown_is_answered() {
    let began = Arc::new(Notify::new());
    let running = start(Arc::clone(&began)).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await.unwrap();
    began.notified().await;
    running.shutdown.request();
    stream.write_all(b"def").await.unwrap();
    let text = answer(stream).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with('6'), "{text}");
    running.serving.await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_flood_of_headers_is_refused_and_others_are_served() {
    let running = start(Arc::default()).await;
    let mut flood = String::from("POST /count HTTP/1.1\r\nhost: x\r\n");
    for number in 0..500 {
        flood.push_str(&format!("x-{number}: y\r\n"));
    }
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(flood.as_bytes()).await.unwrap();
    stream.write_all(b"\r\n").await.unwrap();
    let text = answer(stream).await;
    assert!(text.starts_with("HTTP/1.1 431"), "{text}");
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let request = b"POST /count HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\na";
    stream.write_all(request).await.unwrap();
    assert!(answer(stream).await.ends_with('1'));
    running.shutdown.request();
    running.serving.await.unwrap();
}
