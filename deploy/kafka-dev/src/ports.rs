//! Free ports that stay free while their owner is down.
//!
//! Not port 0: the kernel would choose from the range it also gives to outgoing connections. While a broker restarts,
//! somebody's connection could take its port, or a client that keeps trying could even connect to itself.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::KafkaDevError;

/// Below the ranges that Linux (32768) and macOS (49152) use for outgoing connections, above most services.
const FIRST: u16 = 15_000;
const LAST: u16 = 31_999;

/// Ports this process has chosen: who asked may not have bound it yet, or is down and comes back to it.
static CHOSEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port on 127.0.0.1 that nobody listens on now, and that this process has not chosen before.
///
/// # Errors
/// [`KafkaDevError::NoPort`] when the whole range is taken.
pub fn choose() -> Result<u16, KafkaDevError> {
    let span = LAST - FIRST + 1;
    // A new RandomState differs on every call: enough to keep parallel test processes apart, and no dependency.
    let random = std::hash::RandomState::new().build_hasher().finish() % u64::from(span);
    let start = u16::try_from(random).expect("less than the span");
    // A panic elsewhere leaves a set of numbers as good as it was.
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    (0..span)
        .map(|step| FIRST + (start + step) % span)
        // To look whether a port is free is to take it for a moment: never one whose owner may be binding it just then.
        .find(|port| !chosen.contains(port) && is_free(*port) && chosen.insert(*port))
        .ok_or(KafkaDevError::NoPort { first: FIRST, last: LAST })
}

/// Whether nobody listens on this port of 127.0.0.1 now.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_chosen_twice() {
        let ports: Vec<u16> = (0..500).map(|_| choose().unwrap()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
    }

    #[test]
    fn a_chosen_port_can_be_bound_and_is_not_free_then() {
        let port = choose().unwrap();
        assert!((FIRST..=LAST).contains(&port));
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
    }
}
