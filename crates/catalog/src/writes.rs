//! The ids of the last control writes: how the control plane learns whether a write of unknown outcome is there.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// Far more writes than can pass between a write and the look for it (30/s contended, 10 s deadline).
const REMEMBERED: usize = 10_000;

/// A bounded memory of write ids.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    order: VecDeque<Uuid>,
    known: HashSet<Uuid>,
}

impl Writes {
    /// Remembers one; the records of one write carry the same id.
    pub(crate) fn remember(&mut self, id: Uuid) {
        if !self.known.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, id: &Uuid) -> bool {
        self.known.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_memory_is_bounded() {
        let mut writes = Writes::default();
        for number in 0..=REMEMBERED as u128 {
            writes.remember(Uuid::from_u128(number));
            writes.remember(Uuid::from_u128(number));
        }
        assert!(!writes.contains(&Uuid::from_u128(0)));
        assert!(writes.contains(&Uuid::from_u128(1)));
        assert!(writes.contains(&Uuid::from_u128(REMEMBERED as u128)));
        assert_eq!((writes.order.len(), writes.known.len()), (REMEMBERED, REMEMBERED));
    }
}
