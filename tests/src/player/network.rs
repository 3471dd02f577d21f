//! A network of a player's own: `127.1.n.0/24`, of which Linux answers every address.

use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, ensure};

/// Held at the last address by whoever has the network.
const LEASE_PORT: u16 = 14_999;
const LEASE: u8 = 254;
/// Services' are above pods'.
const FIRST_SERVICE: u8 = 240;

/// Its addresses are handed out once each. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Network {
    number: u8,
    next_pod: AtomicU8,
    next_service: AtomicU8,
    _lease: TcpListener,
}

impl Network {
    /// Takes one that no other player has.
    pub(super) fn take() -> anyhow::Result<Self> {
        let [start, ..] = std::hash::RandomState::new().build_hasher().finish().to_ne_bytes();
        let leased = (0..=u8::MAX).find_map(|step| {
            let number = start.wrapping_add(step);
            Some((number, TcpListener::bind((Ipv4Addr::new(127, 1, number, LEASE), LEASE_PORT)).ok()?))
        });
        let (number, lease) = leased.context("every network 127.1.n.0/24 is taken, or this is not Linux")?;
        Ok(Self { number, next_pod: AtomicU8::new(1), next_service: AtomicU8::new(FIRST_SERVICE), _lease: lease })
    }

    /// An address for a pod.
    pub(super) fn next(&self) -> anyhow::Result<Ipv4Addr> {
        self.of(&self.next_pod, FIRST_SERVICE)
    }

    /// An address for a Service.
    pub(super) fn next_service(&self) -> anyhow::Result<Ipv4Addr> {
        self.of(&self.next_service, LEASE)
    }

    fn of(&self, next: &AtomicU8, end: u8) -> anyhow::Result<Ipv4Addr> {
        let host = next.fetch_add(1, Ordering::Relaxed);
        ensure!(host < end, "127.1.{}.0/24 has no addresses left", self.number);
        Ok(Ipv4Addr::new(127, 1, self.number, host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_players_have_two_networks_and_no_address_twice() {
        let (one, other) = (Network::take().unwrap(), Network::take().unwrap());
        assert_ne!(one.number, other.number);
        assert_ne!(one.next().unwrap(), one.next().unwrap());
        let services: Vec<_> = std::iter::from_fn(|| one.next_service().ok()).collect();
        assert_eq!(services.len(), usize::from(LEASE - FIRST_SERVICE));
    }
}
