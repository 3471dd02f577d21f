//! One HTTP/2 connection with many answers: each is read or not by itself.
//!
//! Where time matters it is that of the connection: it grows older with every byte that comes through, as over a slow link.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hyper::client::conn::http2::{Builder, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::super::connection::ConnectionAction;
use super::*;

const PATIENCE: Patience = Patience { head: LONG, idle: LONG, write: Duration::from_secs(10), streams: 100 };

type Client = SendRequest<Full<Bytes>>;

/// A link that lets so many bytes a second through, and what a watchdog has to say meanwhile.
struct SlowLink {
    state: Arc<ConnectionState>,
    per_second: u64,
    passed: AtomicU64,
    reset: AtomicUsize,
    dropped: AtomicUsize,
}

/// The client's end of it.
struct SlowSocket(DuplexStream, Arc<SlowLink>);

// === impl SlowLink ===

impl SlowLink {
    fn pass(&self, bytes: u64) {
        let before = self.passed.fetch_add(bytes, Ordering::Relaxed);
        let ms = |bytes: u64| bytes * 1_000 / self.per_second;
        self.state.grow_old(ms(before + bytes) - ms(before));
        self.look();
    }

    fn look(&self) {
        let now = self.state.now();
        match self.state.verdict(now, PATIENCE) {
            ConnectionAction::ResetUnread => {
                self.reset.fetch_add(self.state.reset_unread(now, PATIENCE), Ordering::Relaxed);
            }
            ConnectionAction::DropUnread => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            ConnectionAction::Wait(_) | ConnectionAction::Close | ConnectionAction::DropSlowHead => {}
        }
    }

    /// Streams that were reset, and how often the connection would have been cut.
    fn ended(&self) -> (usize, usize) {
        (self.reset.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }
}

// === impl SlowSocket ===

impl AsyncRead for SlowSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        self.1.pass((buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SlowSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A client over a link of so many bytes a second; its windows are so large.
async fn over_slow_link(per_second: u64, windows: (u32, u32)) -> (Client, Arc<SlowLink>) {
    let metrics = ServerMetrics::new(&Metrics::new(&Registry::new(), "test")).unwrap();
    let server = Server::new("test", limits(), None, metrics.clone());
    let peer = "192.0.2.1:80".parse().unwrap();
    let state = ConnectionState::new(peer, None, server.holders.clone(), metrics.requests.clone());
    let listening = Arc::new(Listening {
        builder: builder(&server.limits),
        server,
        service: Arc::new(Pages),
        shutdown: Shutdown::new(),
        ended: CancellationToken::new(),
    });
    let link = Arc::new(SlowLink {
        state: Arc::clone(&state),
        per_second,
        passed: AtomicU64::new(0),
        reset: AtomicUsize::new(0),
        dropped: AtomicUsize::new(0),
    });
    let (ours, theirs) = tokio::io::duplex(8 * 1024);
    let _served = tasks::spawn("server", async move { listening.drive(theirs, &state).await });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(windows.0).initial_connection_window_size(windows.1);
    let (client, connection) = builder.handshake(TokioIo::new(SlowSocket(ours, Arc::clone(&link)))).await.unwrap();
    let _driven = tasks::spawn("client", connection);
    (client, link)
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://x{path}")).body(Full::new(Bytes::new())).unwrap()
}

async fn read(client: &mut Client, path: &str) -> usize {
    let response = client.send_request(get(path)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap().to_bytes().len()
}

#[tokio::test]
async fn many_answers_at_once_over_a_slow_link_all_arrive() {
    for windows in [(65_535, 65_535), (65_535, 1 << 20), (2 << 20, 5 << 20)] {
        // Six times as fast as one answer alone has to be read: each has its turn after 50 s.
        let (client, link) = over_slow_link(40_000, windows).await;
        let read = |_| {
            let mut client = client.clone();
            async move { read(&mut client, "/262144").await }
        };
        let all = futures_util::future::join_all((0..30).map(read)).await;
        assert!(all.iter().all(|bytes| *bytes == 262_144), "{all:?}");
        assert_eq!(link.ended(), (0, 0), "{windows:?}");
    }
}

#[tokio::test]
async fn a_large_answer_arrives_beside_many_small_ones_over_a_slow_link() {
    let (client, link) = over_slow_link(40_000, (65_535, 1 << 20)).await;
    let mut large = client.clone();
    let large = tasks::spawn("large", async move { read(&mut large, "/1000000").await });
    // Each frame of it comes after one of each of the others.
    let others = (0..80).map(|_| {
        let (mut client, large) = (client.clone(), &large);
        async move {
            while !large.is_finished() {
                assert_eq!(read(&mut client, "/3000").await, 3_000);
            }
        }
    });
    futures_util::future::join_all(others).await;
    assert_eq!((large.await.unwrap(), link.ended()), (1_000_000, (0, 0)));
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_alone_while_others_of_its_connection_are_answered() {
    let (mut client, link) = over_slow_link(1 << 20, (1_000, 1 << 20)).await;
    let unread = client.send_request(get("/large")).await.unwrap();
    let mut waited_s = 0;
    while link.ended() == (0, 0) {
        assert_eq!(read(&mut client, "/small").await, 1);
        link.state.grow_old(1_000);
        link.look();
        waited_s += 1;
        assert!(waited_s < 30, "it is never ended");
    }
    assert_eq!(link.ended(), (1, 0), "after {waited_s} s");
    let mut unread = unread.into_body();
    let ended = loop {
        match unread.frame().await {
            Some(Ok(_before)) => {}
            ended => break ended,
        }
    };
    assert!(ended.is_some_and(|it| it.is_err()), "a client can tell it from a whole answer");
    assert_eq!(read(&mut client, "/small").await, 1);
}

/// The same with a listener's own watchdog.
#[tokio::test]
async fn a_stream_that_a_listener_ends_is_counted_as_one() {
    let running = start(ServerLimits { write: Duration::from_millis(500), ..limits() }, None).await;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1_000);
    let (mut client, connection) = builder.handshake(TokioIo::new(running.connect().await)).await.unwrap();
    let _driven = tasks::spawn("client", connection);
    let _unread = client.send_request(get("/large")).await.unwrap();
    while running.closed(Closed::UnreadStream) == 0 {
        assert_eq!(read(&mut client, "/small").await, 1);
    }
    assert_eq!((running.closed(Closed::UnreadStream), running.closed(Closed::Unread)), (1, 0));
    assert_eq!(read(&mut client, "/small").await, 1);
    drop(client);
    running.end().await;
}
