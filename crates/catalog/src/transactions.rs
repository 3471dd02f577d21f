//! The ids of the last transactions on `control`: how the control plane learns whether one of unknown outcome is there.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// Far more transactions than can pass between one and the look for it (100/s, 10 s deadline). A transaction counts once, however
/// many writes share it.
const REMEMBERED: usize = 10_000;

/// A bounded memory of transaction ids.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    order: VecDeque<Uuid>,
    known: HashSet<Uuid>,
}

impl Transactions {
    /// Remembers one; the records of one transaction carry the same id.
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
        let mut transactions = Transactions::default();
        for number in 0..=REMEMBERED as u128 {
            transactions.remember(Uuid::from_u128(number));
            transactions.remember(Uuid::from_u128(number));
        }
        assert!(!transactions.contains(&Uuid::from_u128(0)));
        assert!(transactions.contains(&Uuid::from_u128(1)));
        assert!(transactions.contains(&Uuid::from_u128(REMEMBERED as u128)));
        assert_eq!((transactions.order.len(), transactions.known.len()), (REMEMBERED, REMEMBERED));
    }
}
