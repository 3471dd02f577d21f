//! The listener on loopback, byte by byte.

use chassis::metrics::{Metrics, Registry};
use chassis::server::{Server, ServerMetrics};
use chassis::shutdown::Shutdown;
use chassis::tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn sent(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn floods_of_headers_and_the_silent_are_refused_and_others_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = Shutdown::new();
    let mut config = crate::api::test_config(10);
    config.header_read_timeout = std::time::Duration::from_millis(200);
    config.max_connections = 3;
    let metrics = ServerMetrics::new(&Metrics::new(&Registry::new(), "control")).unwrap();
    let server = Server::new("control", limits(&config), None, metrics);
    let router =
        Router::new().route("/count", axum::routing::post(async |body: axum::body::Bytes| body.len().to_string()));
    let serving = tasks::spawn("server", server.serve(Arc::new(Routes(router)), listener, shutdown.clone()));
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut flood = String::from("POST /count HTTP/1.1\r\nhost: x\r\n");
    for number in 0..500 {
        flood.push_str(&format!("x-{number}: y\r\n"));
    }
    let refused = sent(address, format!("{flood}\r\n").as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 431") && refused.contains("headers_too_large"), "{refused}");
    let request = b"POST /count HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\na";
    assert!(sent(address, request).await.ends_with('1'));
    drop(silent);
    shutdown.request();
    serving.await.unwrap();
}
