//! Places for look-ups under way: limited for a domain, so that one tenant's silent name server starves nobody, and for the
//! process, so that sockets are bounded.
//!
//! Names that had an address lately have places of their own: whatever strangers' names do, known ones are looked up again
//! at once. Whose domain a name is in says the public suffix list: `a.shop.co.uk` belongs to `shop.co.uk`, not to `co.uk`.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Look-ups of one domain at once.
const OF_A_DOMAIN: usize = 16;
/// Look-ups of the process at once, of known names and of others each. One takes a socket for each family and name server asked.
const OF_THE_PROCESS: usize = 128;
/// Domains that are remembered before those without a look-up are forgotten.
const DOMAINS: usize = 1_024;

/// See the module. Clones share the places.
#[derive(Clone, Debug)]
pub(super) struct LookupPlaces {
    shared: Arc<SharedPlaces>,
}

#[derive(Debug)]
struct SharedPlaces {
    known: Arc<Semaphore>,
    strange: Arc<Semaphore>,
    domains: Mutex<HashMap<(String, bool), Weak<Semaphore>>>,
}

/// The right to one look-up, given back on drop.
#[derive(Debug)]
pub(super) struct LookupPlace {
    _of_domain: OwnedSemaphorePermit,
    _of_process: OwnedSemaphorePermit,
}

impl LookupPlaces {
    pub(super) fn new() -> Self {
        let places = || Arc::new(Semaphore::new(OF_THE_PROCESS));
        let shared = SharedPlaces { known: places(), strange: places(), domains: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Waits for a place. What waits for its domain takes none from the process.
    pub(super) async fn take(&self, name: &str, is_known: bool) -> LookupPlace {
        const OPEN: &str = "these semaphores are never closed";
        let of_domain = self.domain(name, is_known).acquire_owned().await.expect(OPEN);
        let of_process = if is_known { &self.shared.known } else { &self.shared.strange };
        let of_process = Arc::clone(of_process).acquire_owned().await.expect(OPEN);
        LookupPlace { _of_domain: of_domain, _of_process: of_process }
    }

    fn domain(&self, name: &str, is_known: bool) -> Arc<Semaphore> {
        let mut domains = self.shared.domains.lock();
        let key = (registrable(name).to_owned(), is_known);
        if let Some(places) = domains.get(&key).and_then(Weak::upgrade) {
            return places;
        }
        if domains.len() >= DOMAINS {
            domains.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(OF_A_DOMAIN));
        domains.insert(key, Arc::downgrade(&places));
        places
    }
}

/// The part of a name that somebody registered; the name itself where that is not known.
fn registrable(name: &str) -> &str {
    let name = name.trim_end_matches('.');
    psl::domain_str(name).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_name_belongs_to_whoever_registered_its_domain() {
        for (name, domain) in [
            ("a.b.example.com", "example.com"),
            ("a.b.example.com.", "example.com"),
            ("x.shop.co.uk", "shop.co.uk"),
            ("tenant.herokuapp.com", "tenant.herokuapp.com"),
            ("kafka", "kafka"),
            ("hooks.prod.svc.cluster.local", "cluster.local"),
        ] {
            assert_eq!(registrable(name), domain, "{name}");
        }
    }

    #[test]
    fn a_domain_that_has_taken_its_places_waits_alone() {
        let places = LookupPlaces::new();
        let names = (0..OF_A_DOMAIN).map(|number| format!("{number}.silent.example"));
        let mut taken: Vec<LookupPlace> = names.map(|name| places.take(&name, false).now_or_never().unwrap()).collect();
        assert!(places.take("one-more.silent.example", false).now_or_never().is_none());
        assert!(places.take("known.silent.example", true).now_or_never().is_some(), "known names have their own");
        assert!(places.take("healthy.example", false).now_or_never().is_some());
        assert!(taken.pop().is_some());
        assert!(places.take("one-more.silent.example", false).now_or_never().is_some());
    }

    #[test]
    fn strangers_take_no_place_of_a_known_name_and_domains_are_forgotten() {
        let places = LookupPlaces::new();
        let names = (0..OF_THE_PROCESS).map(|number| format!("a.domain-{number}.example"));
        let taken: Vec<LookupPlace> = names.map(|name| places.take(&name, false).now_or_never().unwrap()).collect();
        assert!(places.take("a.one-more.example", false).now_or_never().is_none(), "the process has no place left");
        assert!(places.take("a.one-more.example", true).now_or_never().is_some());
        drop(taken);
        for number in 0..3 * DOMAINS {
            drop(places.take(&format!("a.domain-{number}.example"), false).now_or_never().unwrap());
        }
        assert!(places.shared.domains.lock().len() <= DOMAINS);
    }
}
