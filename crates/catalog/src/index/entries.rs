//! The entries of one list of the index: few of them are looked through, many are found by their hash, so that one comes and
//! goes at the same cost in a list of a million.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::IndexSet;
use smallvec::SmallVec;

/// So many are looked through: they lie in one or two lines of the processor's cache.
const FEW: usize = 32;

/// Entries, each once. Often one: a label that names a customer.
#[derive(Debug)]
pub(super) enum Entries<T> {
    Few(SmallVec<[Arc<T>; 1]>),
    Many(Box<IndexSet<Same<T>>>),
}

/// An entry, equal to itself alone.
#[derive(Debug)]
pub(super) struct Same<T>(Arc<T>);

// === impl Entries ===

impl<T> Entries<T> {
    pub(super) const fn new() -> Self {
        Self::Few(SmallVec::new_const())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an entry; one that is there stays as it is.
    pub(super) fn insert(&mut self, entry: &Arc<T>) {
        match self {
            Self::Few(few) if few.iter().any(|other| Arc::ptr_eq(other, entry)) => {}
            Self::Few(few) if few.len() < FEW => few.push(Arc::clone(entry)),
            Self::Few(few) => {
                let mut many: IndexSet<_> = std::mem::take(few).into_iter().map(Same).collect();
                many.insert(Same(Arc::clone(entry)));
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => {
                many.insert(Same(Arc::clone(entry)));
            }
        }
    }

    /// Removes this very entry; the order of the others does not matter.
    pub(super) fn remove(&mut self, entry: &Arc<T>) {
        match self {
            Self::Few(few) => {
                if let Some(at) = few.iter().position(|other| Arc::ptr_eq(other, entry)) {
                    few.swap_remove(at);
                }
            }
            Self::Many(many) => {
                many.swap_remove(&Same(Arc::clone(entry)));
                if many.len() * 2 <= FEW {
                    *self = Self::Few(std::mem::take(&mut **many).into_iter().map(|Same(entry)| entry).collect());
                } else if many.capacity() > many.len() * 4 {
                    many.shrink_to(many.len() * 2);
                }
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        let (few, many) = match self {
            Self::Few(few) => (few.as_slice(), None),
            Self::Many(many) => (&[][..], Some(many)),
        };
        few.iter().chain(many.into_iter().flat_map(|many| many.iter().map(|Same(entry)| entry)))
    }
}

// === impl Same ===

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Same<T> {}

impl<T> Hash for Same<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_and_shrinks_and_knows_each_entry_once() {
        let all: Vec<Arc<usize>> = (0..10 * FEW).map(Arc::new).collect();
        let mut entries = Entries::new();
        for entry in all.iter().chain(&all) {
            entries.insert(entry);
        }
        assert!(matches!(entries, Entries::Many(_)));
        assert_eq!(entries.iter().map(|it| **it).collect::<Vec<_>>(), (0..10 * FEW).collect::<Vec<_>>());
        for entry in all.iter().skip(1) {
            entries.remove(entry);
            entries.remove(entry);
        }
        assert!(matches!(&entries, Entries::Few(few) if few.len() == 1 && *few[0] == 0));
        entries.remove(&all[0]);
        assert!(entries.is_empty());
    }

    #[test]
    fn a_list_that_has_become_small_gives_its_room_back() {
        let all: Vec<Arc<usize>> = (0..10_000).map(Arc::new).collect();
        let mut entries = Entries::new();
        all.iter().for_each(|entry| entries.insert(entry));
        all[100..].iter().for_each(|entry| entries.remove(entry));
        let Entries::Many(many) = &entries else { panic!("a hundred are many") };
        assert!(many.capacity() <= 1_000, "{}", many.capacity());
    }
}
