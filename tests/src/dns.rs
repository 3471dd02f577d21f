//! The fake name server: UDP and TCP on loopback, scripted by name, so that names do what hostile and broken ones do.
//!
//! ```text
//! names.answers("hooks.example", Reply::addresses(&["10.0.0.1"]))      the same to every question
//! names.script("hooks.example", [lie, lie, truth])                     by the number of the question; the last one stays
//! names.answers("*.silent.example", Reply::silent())                   every name below
//! ```
//!
//! What nobody scripted is no name (NXDOMAIN). Questions are counted for each name and type, since both families are asked.

mod serve;
mod zone;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use tokio::net::{TcpListener, UdpSocket};

use self::zone::Zone;
pub use self::zone::{Family, Reply};
use crate::engine::Engine;

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Zone>,
    _engine: Engine,
}

impl NameServer {
    /// Starts one that knows no name.
    ///
    /// # Errors
    /// No free port.
    pub fn start() -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, kafka_dev::ports::choose()?));
        let engine = Engine::start("fake-name-server", 1)?;
        let zone = Arc::new(Zone::default());
        let handle = engine.handle();
        let _entered = handle.enter();
        let udp = std::net::UdpSocket::bind(address).with_context(|| format!("binding {address}/udp"))?;
        udp.set_nonblocking(true)?;
        let tcp = std::net::TcpListener::bind(address).with_context(|| format!("binding {address}/tcp"))?;
        tcp.set_nonblocking(true)?;
        engine.spawn(serve::datagrams(UdpSocket::from_std(udp)?, Arc::clone(&zone)));
        engine.spawn(serve::connections(TcpListener::from_std(tcp)?, Arc::clone(&zone)));
        Ok(Self { address, zone, _engine: engine })
    }

    /// Where it listens: the value of `delivery.dns_servers`.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers every question for a name so from now on.
    pub fn answers(&self, name: &str, reply: Reply) {
        self.zone.set(name, vec![reply]);
    }

    /// Answers the first question for a name (of each type) by the first reply and so on; the last one stays.
    pub fn script(&self, name: &str, replies: impl IntoIterator<Item = Reply>) {
        self.zone.set(name, replies.into_iter().collect());
    }

    /// How many questions of one family came for a name, answered or not.
    #[must_use]
    pub fn asked(&self, name: &str, family: Family) -> usize {
        self.zone.asked(name, family)
    }
}
