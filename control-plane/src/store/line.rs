//! The line of those who wait to write: served in turn, one of each owner, so that nobody waits behind all that another asks.

use schemas::ids::OrganizationId;

use crate::in_turn::InTurn;

/// Writes of one owner that may wait.
pub(super) const OF_ONE: usize = 512;
/// Writes of all owners that may wait.
pub(super) const OF_ALL: usize = 16_384;

/// Who waits as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WriteOwner {
    /// The control plane itself.
    System,
    /// The operator.
    Admin,
    /// An organization with all of its tokens.
    Organization(OrganizationId),
    /// Those whose token is gone already: they will be refused.
    Gone,
}

/// Why nothing more may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineFull {
    /// The owner has enough waiting.
    OfOne,
    /// All have.
    OfAll,
}

/// What waits.
#[derive(Debug)]
pub(super) struct WriteLine<T>(InTurn<WriteOwner, T>);

// === impl WriteLine ===

impl<T> WriteLine<T> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds writes of one owner, all or none. A batch counts as one when it comes: it is let in whole or not at all.
    pub(super) fn push(&mut self, owner: WriteOwner, writes: Vec<T>) -> Result<(), LineFull> {
        if owner != WriteOwner::System && self.0.len_of(owner) >= OF_ONE {
            return Err(LineFull::OfOne);
        }
        if owner != WriteOwner::System && self.len() >= OF_ALL {
            return Err(LineFull::OfAll);
        }
        self.0.push(owner, writes);
        Ok(())
    }

    /// The next ones, at most so many: one of each owner in turn, again and again.
    pub(super) fn take(&mut self, max: usize) -> Vec<(WriteOwner, T)> {
        std::iter::from_fn(|| self.0.pop()).take(max).collect()
    }

    /// Gives back what was taken last and not served: it is next.
    pub(super) fn put_back(&mut self, writes: Vec<(WriteOwner, T)>) {
        self.0.put_back(writes);
    }
}

impl<T> Default for WriteLine<T> {
    fn default() -> Self {
        Self(InTurn::default())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn organization(number: u128) -> WriteOwner {
        WriteOwner::Organization(OrganizationId(Uuid::from_u128(number)))
    }

    fn served(line: &mut WriteLine<&'static str>, max: usize) -> Vec<&'static str> {
        line.take(max).into_iter().map(|(_, it)| it).collect()
    }

    #[test]
    fn who_asks_little_does_not_wait_behind_who_asks_much() {
        let mut line = WriteLine::default();
        line.push(organization(1), vec!["much-1", "much-2", "much-3", "much-4"]).unwrap();
        line.push(organization(2), vec!["little"]).unwrap();
        line.push(WriteOwner::Admin, vec!["admin-1", "admin-2"]).unwrap();
        assert_eq!(served(&mut line, 4), ["much-1", "little", "admin-1", "much-2"]);
        line.push(organization(2), vec!["late"]).unwrap();
        assert_eq!(served(&mut line, 9), ["admin-2", "much-3", "late", "much-4"]);
        assert_eq!((line.len(), served(&mut line, 9).len()), (0, 0));
    }

    #[test]
    fn what_was_not_served_is_next_and_in_order() {
        let mut line = WriteLine::default();
        line.push(organization(1), vec!["a1", "a2", "a3"]).unwrap();
        line.push(organization(2), vec!["b1", "b2"]).unwrap();
        let mut taken = line.take(4);
        assert_eq!(line.len(), 1);
        line.put_back(taken.split_off(1));
        assert_eq!(line.len(), 4);
        assert_eq!(served(&mut line, 9), ["b1", "a2", "b2", "a3"]);
    }

    #[test]
    fn an_owner_that_has_enough_waiting_takes_no_place_of_others() {
        let mut line = WriteLine::default();
        line.push(organization(1), vec!["x"; OF_ONE - 1]).unwrap();
        line.push(organization(1), vec!["a", "whole", "batch"]).unwrap();
        assert_eq!(line.push(organization(1), vec!["x"]), Err(LineFull::OfOne));
        assert_eq!(line.push(organization(2), vec!["x"]), Ok(()));
        let mut number = 3;
        while line.push(organization(number), vec!["x"; OF_ONE]).is_ok() {
            number += 1;
        }
        assert!((OF_ALL..OF_ALL + OF_ONE).contains(&line.len()));
        assert_eq!(line.push(organization(2), vec!["x"]), Err(LineFull::OfAll));
        assert_eq!(line.push(WriteOwner::System, vec!["x"]), Ok(()), "the control plane waits for itself");
    }
}
