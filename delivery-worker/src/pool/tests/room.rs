//! Room for connections, and who gets it when there is little.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::pool::connect::{STAGGER, dialled, first_of};

/// A listener whose kernel drops whatever knocks, at every address of loopback: what a firewall does.
pub(super) struct BlackHole {
    port: u16,
    _full: (TcpListener, Vec<TcpStream>),
}

impl BlackHole {
    pub(super) async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
        let listener = socket.listen(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut queued = Vec::new();
        // Its queue is filled: from then on the kernel answers nobody.
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(("127.0.0.1", port))).await
        {
            queued.push(stream);
        }
        Self { port, _full: (listener, queued) }
    }

    pub(super) fn address(&self, number: u16) -> SocketAddr {
        let [high, low] = number.to_be_bytes();
        SocketAddr::from(([127, 1, high, low], self.port))
    }
}

/// Connects that nobody answers hold no place for longer than a moment, however long they may take.
#[tokio::test]
async fn black_holes_keep_nobody_else_from_connecting() {
    let hole = BlackHole::start().await;
    let limits = PoolLimits::new(LIMIT * 10, LIMIT * 10, 1_024);
    let client = client_with(&TestAuthority::new().unwrap(), limits);
    for number in 0..400 {
        let (client, url) = (client.clone(), format!("http://{}/", hole.address(number)));
        drop(tasks::spawn("test request", async move { post(&client, &url, LIMIT * 10).await }));
    }
    eventually("connects are under way", LIMIT, || async { (client.connections() >= 256).then_some(()) })
        .await
        .unwrap();
    let endpoint = Endpoint::start().unwrap();
    let answer = post(&client, &endpoint.url("/"), LIMIT).await;
    assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{answer:?}");
}

#[tokio::test]
async fn an_idle_connection_that_was_shared_makes_room_for_another_origin() {
    let authority = TestAuthority::new().unwrap();
    for protocols in [&["h2"], &["http/1.1"]] {
        let client = client_with(&authority, PoolLimits { total: 2, ..PoolLimits::new(LIMIT, LIMIT * 10, 2) });
        // None of them closes what is kept for it.
        let endpoints = [(); 4].map(|()| endpoint(&authority, protocols, |_| {}).0);
        for endpoint in &endpoints {
            let answer = post(&client, &endpoint.url("/"), LIMIT).await;
            assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{protocols:?}: {answer:?}");
            assert!(client.connections() <= 2, "{}", client.connections());
        }
    }
}

/// Nothing is idle when it asks, and later something is.
#[tokio::test]
async fn what_becomes_idle_makes_room_for_who_waits() {
    let authority = TestAuthority::new().unwrap();
    for protocols in [&["h2"], &["http/1.1"]] {
        let client = client_with(&authority, PoolLimits { total: 1, ..PoolLimits::new(LIMIT, LIMIT * 10, 1) });
        let (first, _) = endpoint(&authority, protocols, |_| {});
        first.script("/", "204+delay=500ms").unwrap();
        let (sending, url) = (client.clone(), first.url("/"));
        let sending = tasks::spawn("test request", async move { post(&sending, &url, LIMIT).await });
        first.wait_for("/", 1, LIMIT).await.unwrap();
        let (second, _) = endpoint(&authority, protocols, |_| {});
        let answer = post(&client, &second.url("/"), LIMIT).await;
        assert_eq!(answer.verdict, AttemptVerdict::Delivered, "{protocols:?}: {answer:?}");
        assert_eq!(sending.await.unwrap().verdict, AttemptVerdict::Delivered);
    }
}

/// Each address beside another is a socket beside another, and a connect counts as one.
#[tokio::test]
async fn an_address_is_tried_beside_others_where_a_socket_is_spare_and_else_after_them() {
    let hole = BlackHole::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let works = listener.local_addr().unwrap();
    let spare = Semaphore::new(2);
    let (_, to) = first_of(vec![hole.address(1), hole.address(2), works], (&spare, STAGGER), dialled).await.unwrap();
    assert_eq!((to, spare.available_permits()), (works, 2));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (_, to) = first_of(vec![closed, closed, works], (&Semaphore::new(0), STAGGER), dialled).await.unwrap();
    assert_eq!(to, works);
}
