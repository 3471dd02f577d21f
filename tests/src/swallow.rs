//! A network path that loses connections without telling anybody: bytes of those that are there go nowhere from a moment on,
//! new ones work. What a failed-over balancer or a full table of a NAT does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::Engine;

/// A running one. Dropping it ends every connection.
#[derive(Debug)]
pub struct Swallow {
    address: SocketAddr,
    lost: Arc<AtomicU64>,
    connections: Arc<AtomicUsize>,
    _engine: Engine,
}

impl Swallow {
    /// Starts one in front of a server.
    ///
    /// # Errors
    /// No free port.
    pub fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let engine = Engine::start("swallow", 1)?;
        let (lost, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (losing, counted, handle) = (Arc::clone(&lost), Arc::clone(&connections), engine.handle());
        engine.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                drop(handle.spawn(pass(from_client, to_server, Arc::clone(&losing))));
                drop(handle.spawn(pass(from_server, to_client, Arc::clone(&losing))));
            }
        });
        Ok(Self { address, lost, connections, _engine: engine })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing of the connections that are there arrives anywhere.
    pub fn swallow(&self) {
        self.lost.fetch_add(1, Ordering::SeqCst);
    }

    /// Connections that were made through it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lost: Arc<AtomicU64>) {
    let since = lost.load(Ordering::SeqCst);
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if lost.load(Ordering::SeqCst) != since {
            // Read, so that the sender notices nothing; an end is not passed on either.
            while matches!(from.read(&mut bytes).await, Ok(1..)) {}
            std::future::pending::<()>().await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    if lost.load(Ordering::SeqCst) != since {
        std::future::pending::<()>().await;
    }
}
