//! The server over real sockets: peers that are silent, slow, many, or do not read; its end in `ending`, TLS in `tls`.

mod ending;
mod holders;
mod streams;
mod tls;

use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus::Registry;
use schemas::ids::OrganizationId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::metrics::Metrics;
use crate::tasks;

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3_600);

/// Answers `/small`, `/large`, and `/7` with so many bytes; a request with `authorization: <number>` shows a token of that organization, 0 is the operator.
struct Pages;

impl Serve for Pages {
    type Body = Full<Bytes>;

    async fn serve(&self, connection: &Arc<ConnectionState>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(token) = request.headers().get("authorization") {
            let number: u128 = token.to_str().unwrap().parse().unwrap();
            connection.trust((number > 0).then(|| OrganizationId(Uuid::from_u128(number))));
        }
        let path = request.uri().path();
        let bytes = if path == "/large" { Ok(64 << 20) } else { path.trim_start_matches('/').parse() };
        let body = request.into_body().collect().await.map(|body| body.to_bytes().len()).unwrap_or_default();
        let answer = bytes.map_or_else(|_| Bytes::from(body.to_string()), |bytes| Bytes::from(vec![b'x'; bytes]));
        Response::builder().status(StatusCode::OK).body(Full::new(answer)).unwrap()
    }
}

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    metrics: ServerMetrics,
    serving: JoinHandle<()>,
}

fn limits() -> ServerLimits {
    ServerLimits {
        head: LONG,
        idle: LONG,
        write: LONG,
        request: Duration::from_secs(30),
        connections: 100,
        per_address: None,
        head_bytes: 16 * 1024,
        headers: None,
        streams: 100,
    }
}

async fn start(limits: ServerLimits, tls: Option<ListenerTls>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = ServerMetrics::new(&Metrics::new(&Registry::new(), "test")).unwrap();
    let server = Server::new("test", limits, tls, metrics.clone());
    let shutdown = Shutdown::new();
    let serving = tasks::spawn("server", server.serve(Arc::new(Pages), listener, shutdown.clone()));
    Running { address, shutdown, metrics, serving }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn sending(&self, bytes: &[u8]) -> TcpStream {
        let mut socket = self.connect().await;
        socket.write_all(bytes).await.unwrap();
        socket
    }

    fn closed(&self, why: Closed) -> u64 {
        self.metrics.closed.with_label_values(&[why.name()]).get()
    }

    async fn end(self) {
        self.shutdown.request();
        self.serving.await.unwrap();
    }
}

/// Everything until the connection is closed or reset.
async fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _closed_or_reset = socket.read_to_end(&mut bytes).await;
    bytes
}

fn get(more: &str) -> Vec<u8> {
    format!("GET /small HTTP/1.1\r\nhost: x\r\n{more}\r\n").into_bytes()
}

async fn answered(socket: &mut TcpStream) {
    let mut bytes = [0; 15];
    socket.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn who_sends_nothing_or_half_a_head_is_closed_whatever_protocol_it_begins() {
    let running = start(ServerLimits { head: SHORT, ..limits() }, None).await;
    let begun = [
        &b""[..],
        b"G",
        b"GET / HTTP/1.1\r\nhost:",
        b"PRI",
        b"PRI / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for (number, sent) in (1_u64..).zip(begun) {
        let socket = running.sending(sent).await;
        let answer = rest(socket).await;
        assert!(!answer.starts_with(b"HTTP/1.1"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(running.closed(Closed::SlowHead), number, "{}", String::from_utf8_lossy(sent));
    }
    running.end().await;
}

#[tokio::test]
async fn idle_connections_are_closed_after_their_own_time() {
    let running = start(ServerLimits { idle: SHORT, ..limits() }, None).await;
    let mut socket = running.sending(&get("")).await;
    answered(&mut socket).await;
    rest(socket).await;
    assert_eq!((running.closed(Closed::Idle), running.closed(Closed::SlowHead)), (1, 0));
    running.end().await;
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_its_connection() {
    let running = start(ServerLimits { write: SHORT, ..limits() }, None).await;
    let mut socket = running.sending(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    answered(&mut socket).await;
    while running.closed(Closed::Unread) == 0 {
        tokio::task::yield_now().await;
    }
    running.end().await;
}

#[tokio::test]
async fn an_answer_over_http2_without_a_window_ends_its_connection() {
    without_a_window(0, "http://x/small").await;
    // HTTP takes a whole frame as soon as there is room for a byte of it.
    for of in ["2", "20000", "65536", "65537", "large"] {
        without_a_window(1, &format!("http://x/{of}")).await;
    }
}

async fn without_a_window(bytes: u32, of: &str) {
    let running = start(ServerLimits { write: SHORT, ..limits() }, None).await;
    let socket = running.connect().await;
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(bytes);
    let (mut client, connection) = builder.handshake(TokioIo::new(socket)).await.unwrap();
    let driver = tasks::spawn("client", connection);
    let request = Request::get(of).body(Full::new(Bytes::new())).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let _ended = driver.await.unwrap();
    assert_eq!(running.closed(Closed::Unread), 1);
    running.end().await;
}

#[tokio::test]
async fn an_http2_connection_that_only_answers_pings_is_idle() {
    // A first request must come within the time of a head, also on a busy machine.
    let running = start(ServerLimits { idle: SHORT, head: Duration::from_secs(5), ..limits() }, None).await;
    let socket = running.connect().await;
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    let driver = tasks::spawn("client", connection);
    let request = Request::get("http://x/small").body(Full::new(Bytes::new())).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "0");
    let _ended = driver.await.unwrap();
    assert_eq!(running.closed(Closed::Idle), 1);
    running.end().await;
}

#[tokio::test]
async fn an_address_holds_few_connections_without_a_token_and_as_many_with_one_as_it_likes() {
    let running = start(ServerLimits { per_address: Some(3), ..limits() }, None).await;
    let mut trusted = Vec::new();
    for _ in 0..10 {
        let mut socket = running.sending(&get("authorization: 1\r\n")).await;
        answered(&mut socket).await;
        trusted.push(socket);
    }
    let mut silent = Vec::new();
    for held in 1..=3 {
        silent.push(running.connect().await);
        while running.metrics.without_token.get() < held {
            tokio::task::yield_now().await;
        }
    }
    assert!(rest(running.connect().await).await.is_empty(), "a fourth is closed");
    assert_eq!(running.closed(Closed::AddressLimit), 1);
    trusted[0].write_all(&get("")).await.unwrap();
    drop(silent.pop());
    while running.metrics.without_token.get() > 2 {
        tokio::task::yield_now().await;
    }
    let mut again = running.sending(&get("")).await;
    answered(&mut again).await;
    drop((silent, trusted, again));
    running.end().await;
}

/// Two addresses: one of them only opens connections, as many as the listener serves at once.
#[tokio::test]
async fn a_thousand_silent_connections_of_an_address_leave_the_others_answered() {
    let running = start(ServerLimits { connections: 1_000, per_address: Some(250), ..limits() }, None).await;
    let mut known = running.sending(&get("authorization: 1\r\n")).await;
    answered(&mut known).await;
    let mut silent = Vec::new();
    for held in 1..=250 {
        silent.push(running.connect().await);
        while running.metrics.without_token.get() < held {
            tokio::task::yield_now().await;
        }
    }
    for _ in 250..1_000 {
        assert!(rest(running.connect().await).await.is_empty(), "its address holds as many as it may");
    }
    assert_eq!(running.closed(Closed::AddressLimit), 750);
    assert_eq!(running.metrics.without_token.get(), 250);
    for _ in 0..10 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = socket.connect(running.address).await.unwrap();
        other.write_all(&get("")).await.unwrap();
        answered(&mut other).await;
    }
    // What its own address had that showed a token goes on, too.
    let mut rest_of_answer = [0; 4096];
    assert!(known.read(&mut rest_of_answer).await.unwrap() > 0);
    known.write_all(&get("")).await.unwrap();
    answered(&mut known).await;
    drop((silent, known));
    running.end().await;
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_closed_as_one_without_a_head() {
    let running = start(ServerLimits { head: SHORT, ..limits() }, None).await;
    let socket = running.connect().await;
    let (client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
    let _ended = tasks::spawn("client", connection).await.unwrap();
    assert_eq!(running.closed(Closed::SlowHead), 1);
    drop(client);
    running.end().await;
}

#[tokio::test]
async fn all_places_taken_by_the_silent_are_free_again_for_the_next() {
    let running = start(ServerLimits { head: SHORT, connections: 5, ..limits() }, None).await;
    let silent: Vec<TcpStream> = futures_util::future::join_all((0..20).map(|_| running.connect())).await;
    let mut socket = running.sending(&get("")).await;
    answered(&mut socket).await;
    drop((silent, socket));
    running.end().await;
}
