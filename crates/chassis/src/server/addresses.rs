//! How many connections an address holds before it has shown a token.
//!
//! A connection counts from its accept until a request on it was authenticated, or until it ends. So one address that only
//! opens connections cannot take the places of all others, and a balancer, whose connections carry tokens, is not bounded by
//! this. With a token they count against whom it is of (`holders`).
//!
//! Nor can some addresses together: each holds at most as many as half of the places that are still free. The fewer are free,
//! the less one address gets, so that there is one left for the next.
//!
//! What a proxy of ours passes on it bounds itself, so whoever is trusted to say who called may hold more than one address may. Half of
//! what is free is the bound of these too: a network is trusted whole, and not everybody in it is a proxy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;

use crate::proxies::TrustedProxies;

/// The connections without a token, by address.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    limit: Option<usize>,
    proxies: TrustedProxies,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// All of them together.
    shown: IntGauge,
}

/// The place of one connection, given back on drop.
#[derive(Debug)]
pub(super) struct AddressSlot {
    address: IpAddr,
    addresses: Addresses,
}

// === impl Addresses ===

impl Addresses {
    /// At most `limit` of each address.
    pub(super) fn new(limit: Option<usize>, shown: IntGauge) -> Self {
        Self { limit, proxies: TrustedProxies::default(), counts: Arc::default(), shown }
    }

    /// The same, but of these proxies as many as half of what is free.
    pub(super) fn trusting(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// A place for a new connection; `None` if its address has as many as it may. `free`: places of the listener that nobody has.
    pub(super) fn take(&self, peer: IpAddr, free: usize) -> Option<AddressSlot> {
        let address = network(peer);
        let mut counts = self.counts.lock();
        let count = counts.entry(address).or_default();
        let half = (free / 2).max(1);
        let is_full = self
            .limit
            .is_some_and(|limit| *count >= half || (*count >= limit && !self.proxies.trust(peer.to_canonical())));
        if is_full {
            return None;
        }
        *count += 1;
        drop(counts);
        self.shown.inc();
        Some(AddressSlot { address, addresses: self.clone() })
    }
}

/// What counts as one address: whoever has one of IPv6 has 2^64 of them.
#[must_use]
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(network.into())
        }
        address @ IpAddr::V4(_) => address,
    }
}

// === impl AddressSlot ===

impl Drop for AddressSlot {
    fn drop(&mut self) {
        self.addresses.shown.dec();
        let mut counts = self.addresses.counts.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxies::ProxyHeader;

    fn addresses(limit: Option<usize>) -> Addresses {
        Addresses::new(limit, IntGauge::new("without_token", "Without.").unwrap())
    }

    #[test]
    fn an_address_has_so_many_places_and_takes_none_of_anothers() {
        let addresses = addresses(Some(2));
        let take = |text: &str| addresses.take(text.parse().unwrap(), 100);
        let (first, second) = (take("10.0.0.1").unwrap(), take("::ffff:10.0.0.1").unwrap());
        assert!(take("10.0.0.1").is_none());
        let other = take("10.0.0.2").unwrap();
        assert_eq!(addresses.shown.get(), 3);
        drop(first);
        assert!(take("10.0.0.1").is_some());
        drop((second, other));
        assert_eq!(addresses.shown.get(), 0);
        assert!(addresses.counts.lock().is_empty(), "who is gone takes no memory");
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let addresses = addresses(Some(1));
        let _first = addresses.take("2001:db8::1".parse().unwrap(), 100).unwrap();
        assert!(addresses.take("2001:db8::ffff:2".parse().unwrap(), 100).is_none());
        assert!(addresses.take("2001:db8:0:1::1".parse().unwrap(), 100).is_some());
    }

    #[test]
    fn many_addresses_together_leave_places_for_the_next() {
        let (addresses, places) = (addresses(Some(250)), 1_000);
        let mut held = Vec::new();
        for _ in 0..300 {
            for address in 1..=8 {
                let free = places - held.len();
                held.extend(addresses.take(format!("10.0.0.{address}").parse().unwrap(), free));
            }
        }
        let free = places - held.len();
        assert!(free >= 150, "{free} are left");
        let mine = (0..50).filter_map(|_| addresses.take("10.9.9.9".parse().unwrap(), free - 50)).collect::<Vec<_>>();
        assert_eq!(mine.len(), 50, "who comes ninth is served");
    }

    #[test]
    fn proxies_that_are_trusted_hold_more_and_leave_half_of_what_is_free() {
        let networks = ["10.0.0.0/8".parse().unwrap()];
        let (addresses, places) = (addresses(Some(1)), 100);
        let addresses = addresses.trusting(TrustedProxies::new(&networks, ProxyHeader::default()));
        let mut held = Vec::new();
        for _ in 0..places {
            let free = places - held.len();
            held.extend(addresses.take("::ffff:10.0.0.1".parse().unwrap(), free));
        }
        assert!((30..=50).contains(&held.len()), "a pod of a network that is trusted holds {}", held.len());
        let free = places - held.len();
        assert!(addresses.take("10.0.0.2".parse().unwrap(), free).is_some(), "a real proxy has a place");
        let _other = addresses.take("192.0.2.1".parse().unwrap(), 100).unwrap();
        assert!(addresses.take("192.0.2.1".parse().unwrap(), 100).is_none());
    }

    #[test]
    fn without_a_limit_they_are_only_counted() {
        let addresses = addresses(None);
        let held: Vec<_> = (0..100).map(|_| addresses.take("10.0.0.1".parse().unwrap(), 0).unwrap()).collect();
        assert_eq!(addresses.shown.get(), 100);
        drop(held);
    }
}
