//! What waits, by whose it is: served in turn, one of each owner, again and again, so that nobody waits behind all that another asks.
//! Pure.

use std::collections::{BTreeMap, VecDeque};

/// What waits.
#[derive(Debug)]
pub(crate) struct InTurn<O, T> {
    waiting: BTreeMap<O, VecDeque<T>>,
    /// Whose turn it is, each owner that waits once.
    turns: VecDeque<O>,
    len: usize,
}

// === impl InTurn ===

impl<O: Copy + Ord, T> InTurn<O, T> {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many of one owner do.
    pub(crate) fn len_of(&self, owner: O) -> usize {
        self.waiting.get(&owner).map_or(0, VecDeque::len)
    }

    /// Adds some of one owner, in their order.
    pub(crate) fn push(&mut self, owner: O, some: impl IntoIterator<Item = T>) {
        let mut some = some.into_iter().peekable();
        if some.peek().is_none() {
            return;
        }
        let queue = self.waiting.entry(owner).or_default();
        if queue.is_empty() {
            self.turns.push_back(owner);
        }
        let before = queue.len();
        queue.extend(some);
        self.len += queue.len() - before;
    }

    /// The next one.
    pub(crate) fn pop(&mut self) -> Option<(O, T)> {
        let owner = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&owner)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&owner);
        } else {
            self.turns.push_back(owner);
        }
        self.len -= usize::from(next.is_some());
        next.map(|next| (owner, next))
    }

    /// Gives back what was taken last and not served: it is next.
    pub(crate) fn put_back(&mut self, some: Vec<(O, T)>) {
        self.len += some.len();
        for (owner, one) in some.into_iter().rev() {
            self.waiting.entry(owner).or_default().push_front(one);
            self.turns.retain(|it| *it != owner);
            self.turns.push_front(owner);
        }
    }
}

impl<O, T> Default for InTurn<O, T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), turns: VecDeque::new(), len: 0 }
    }
}
