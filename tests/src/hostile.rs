//! Endpoints that are no servers: raw bytes on loopback, whatever the other side does.

mod neighbourhood;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

pub use self::neighbourhood::HostileNeighbourhood;
use crate::endpoint::Secure;
use crate::engine::Engine;

/// Between two bytes of a drip.
const DRIP: Duration = Duration::from_millis(10);

/// What is done to every connection.
#[derive(Clone, Copy, Debug)]
pub enum Cruelty {
    /// Answers 200 to the first bytes of a request, and never reads the rest.
    AnswersEarly,
    /// Sends `100 Continue` without end.
    InterimWithoutEnd,
    /// Sends a head byte by byte, and then no end of it.
    Drips,
    /// Answers the first request; the next one ends the connection without an answer.
    ClosesOnTheSecond,
    /// Reads a request and ends the connection.
    ClosesOnTheFirst,
    /// Answers every request, and says that it keeps the connection for a second.
    KeepsForASecond,
    /// Ends a TLS handshake with this alert.
    Alert(u8),
    /// Answers so many requests, over all connections, and then takes connections and bytes and says nothing any more.
    BlackHoleAfter(usize),
    /// Speaks HTTP/2 as far as its first frame, and then sends pings without end. For a connection with TLS that chose h2.
    FloodsWithPings,
}

/// A running one. Dropping it ends its connections.
#[derive(Debug)]
pub struct Hostile {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _engine: Engine,
}

impl Hostile {
    /// Starts one.
    ///
    /// # Errors
    /// No free port.
    pub fn start(cruelty: Cruelty) -> anyhow::Result<Self> {
        Self::start_as(cruelty, None)
    }

    /// Starts one that does it behind a TLS handshake.
    ///
    /// # Errors
    /// No free port.
    pub fn start_secure(cruelty: Cruelty, secure: &Secure) -> anyhow::Result<Self> {
        Self::start_as(cruelty, Some(secure.acceptor()))
    }

    fn start_as(cruelty: Cruelty, acceptor: Option<tokio_rustls::TlsAcceptor>) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let engine = Engine::start("hostile-endpoint", 1)?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let (handle, answered) = (engine.handle(), Arc::new(AtomicUsize::new(0)));
        engine.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answered) = (acceptor.clone(), Arc::clone(&answered));
                drop(handle.spawn(async move {
                    // How it ends is the other side's choice.
                    let _ended = match acceptor {
                        None => cruelty.serve(stream, &answered).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => cruelty.serve(stream, &answered).await,
                            Err(error) => Err(error),
                        },
                    };
                }));
            }
        });
        Ok(Self { address, connections, _engine: engine })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL with this scheme.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/", self.address)
    }

    /// Connections that were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Cruelty {
    /// One connection; `answered` counts over all of them.
    async fn serve(
        self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        answered: &AtomicUsize,
    ) -> std::io::Result<()> {
        const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        match self {
            Self::AnswersEarly => {
                request(&mut stream).await?;
                stream.write_all(FINE).await?;
                std::future::pending().await
            }
            Self::InterimWithoutEnd => {
                request(&mut stream).await?;
                loop {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
                }
            }
            Self::Drips => {
                request(&mut stream).await?;
                for byte in b"HTTP/1.1 200 OK\r\nx: ".iter().chain(std::iter::repeat(&b'x')) {
                    stream.write_all(&[*byte]).await?;
                    tokio::time::sleep(DRIP).await;
                }
                Ok(())
            }
            Self::ClosesOnTheSecond => {
                request(&mut stream).await?;
                stream.write_all(FINE).await?;
                request(&mut stream).await
            }
            Self::ClosesOnTheFirst => request(&mut stream).await,
            Self::KeepsForASecond => loop {
                request(&mut stream).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n").await?;
            },
            Self::Alert(alert) => {
                request(&mut stream).await?;
                // A fatal alert in a record of TLS 1.2.
                stream.write_all(&[21, 3, 3, 0, 2, 2, alert]).await?;
                std::future::pending().await
            }
            Self::BlackHoleAfter(most) => loop {
                request(&mut stream).await?;
                if answered.fetch_add(1, Ordering::SeqCst) < most {
                    stream.write_all(FINE).await?;
                }
            },
            Self::FloodsWithPings => flood(&mut stream).await,
        }
    }
}

/// What HTTP/2 begins with, then pings without end.
async fn flood(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    request(stream).await?;
    // Settings without a setting, then pings: nine bytes of head, eight of anything.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    let many = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(64);
    loop {
        stream.write_all(&many).await?;
    }
}

/// The first bytes of a request: all of it, if it is small.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<()> {
    let mut bytes = [0; 4_096];
    match stream.read(&mut bytes).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _some => Ok(()),
    }
}
