//! How many requests are passed on at once, and how many of them are one caller's.
//!
//! Whoever holds a place decides how long: by a slow body, or by not reading its answer. So each organization, and each address that
//! shows no token, holds at most as many as half of the places that are still free, and there is one left for the next.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::ids::OrganizationId;

/// The places of all that is passed on. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct ForwardPlaces {
    all: usize,
    taken: Arc<Mutex<TakenPlaces>>,
}

/// Whom a place counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PlaceHolder {
    /// Nobody but all: the operator may have every place.
    Operator,
    /// Whose token it showed.
    Organization(OrganizationId),
    /// It showed no token that is known here. Whoever has one address of IPv6 has 2^64 of them: they count as one.
    Network(IpAddr),
}

#[derive(Debug, Default)]
struct TakenPlaces {
    all: usize,
    by_holder: HashMap<PlaceHolder, usize>,
}

/// The place of one request, given back on drop.
#[derive(Debug)]
pub(super) struct ForwardPlace {
    holder: PlaceHolder,
    taken: Arc<Mutex<TakenPlaces>>,
}

// === impl ForwardPlaces ===

impl ForwardPlaces {
    pub(super) fn new(all: usize) -> Self {
        Self { all, taken: Arc::default() }
    }

    /// A place for one request; `None` if there is none, or none for this holder.
    pub(super) fn take(&self, holder: PlaceHolder) -> Option<ForwardPlace> {
        let mut taken = self.taken.lock();
        let free = self.all.saturating_sub(taken.all);
        let held = taken.by_holder.get(&holder).copied().unwrap_or(0);
        let most = if holder == PlaceHolder::Operator { self.all } else { (free / 2).max(1) };
        if free == 0 || held >= most {
            return None;
        }
        taken.all += 1;
        *taken.by_holder.entry(holder).or_default() += 1;
        Some(ForwardPlace { holder, taken: Arc::clone(&self.taken) })
    }
}

// === impl ForwardPlace ===

impl Drop for ForwardPlace {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.all -= 1;
        if let Some(held) = taken.by_holder.get_mut(&self.holder) {
            *held -= 1;
            if *held == 0 {
                taken.by_holder.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn network(last: u8) -> PlaceHolder {
        PlaceHolder::Network([203, 0, 113, last].into())
    }

    #[test]
    fn one_holder_leaves_places_for_others() {
        let places = ForwardPlaces::new(256);
        let held: Vec<_> = std::iter::from_fn(|| places.take(network(1))).collect();
        assert_eq!(held.len(), 85, "as many as half of those that are free then");
        let organization = PlaceHolder::Organization(OrganizationId(Uuid::nil()));
        let more: Vec<_> = std::iter::from_fn(|| places.take(organization)).collect();
        assert_eq!(more.len(), 57);
        let rest: Vec<_> = std::iter::from_fn(|| places.take(PlaceHolder::Operator)).collect();
        assert_eq!(held.len() + more.len() + rest.len(), 256, "the operator may have what there is");
        assert!(places.take(network(2)).is_none());
        drop((held, more, rest));
        let taken = places.taken.lock();
        assert_eq!((taken.all, taken.by_holder.len()), (0, 0), "who is gone takes no memory");
    }

    #[test]
    fn the_last_place_is_somebodys() {
        let places = ForwardPlaces::new(1);
        let only = places.take(network(1)).unwrap();
        assert!(places.take(PlaceHolder::Operator).is_none());
        drop(only);
        assert!(places.take(network(2)).is_some());
    }
}
