//! A lane's queue: in the order of arrival. What is taken back (a revoke) leaves at once, so that its length is what waits.

use std::collections::VecDeque;

/// Deliveries that wait for room in their lane.
#[derive(Debug)]
pub(crate) struct Queue<T>(VecDeque<T>);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Queue<T> {
    /// To the end.
    pub(crate) fn push(&mut self, item: T) {
        self.0.push_back(item);
    }

    /// Back to where it was taken from.
    pub(crate) fn push_front(&mut self, item: T) {
        self.0.push_front(item);
    }

    /// The next one.
    pub(crate) fn first(&self) -> Option<&T> {
        self.0.front()
    }

    /// The oldest.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    /// Takes out everything beyond the first `keep`, in order.
    pub(crate) fn beyond(&mut self, keep: usize) -> VecDeque<T> {
        if self.0.len() <= keep { VecDeque::new() } else { self.0.split_off(keep) }
    }

    /// Keeps what `keep` says.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
