//! The identities under one lock for many records.
//!
//! Taking a lock, and giving it back, waits until what the processor has under way is written, and an identity is nearly never in its
//! caches: with a lock for each question a record waited twice for memory, 2 to 3 % of the fan-out's CPU. Under one lock it goes on
//! meanwhile. Who else wants it has it with the next record.

use parking_lot::MutexGuard;
use schemas::seen::Hash;

use super::{Identities, Inner, Seen};

/// What was accepted before, for who plans the records of one partition.
pub(crate) trait Remembered {
    /// Whether a record of this time repeats an identity that was accepted inside the window before it: the worker's, or a shorter
    /// one, ms. The window moves on to that time.
    fn is_repeat(&mut self, id: &Hash, at_ms: i64, shorter_ms: Option<i64>) -> bool;

    /// Whether a record of this time is older than the window, the worker's or a shorter one: identities of its time may have been
    /// accepted and forgotten.
    fn is_beyond(&mut self, at_ms: i64, shorter_ms: Option<i64>) -> bool;

    /// The identity of a record of this time was accepted.
    fn insert(&mut self, id: Hash, at_ms: i64);

    /// What follows may take long: others may ask meanwhile.
    fn release(&mut self);
}

/// The lock, while a worker plans: taken with the first question.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    of: &'a Identities,
    guard: Option<MutexGuard<'a, Inner>>,
}

/// One partition's identities under that lock.
#[derive(Debug)]
pub(crate) struct HeldSeen<'a, 'b> {
    seen: &'a Seen,
    held: &'a mut Held<'b>,
}

// === impl Identities ===

impl Identities {
    /// For a worker that plans. No partition may be dropped while it is there.
    pub(crate) fn hold(&self) -> Held<'_> {
        Held { of: self, guard: None }
    }
}

// === impl Held ===

impl<'b> Held<'b> {
    /// The identities of a partition, which is one of these.
    pub(crate) fn of<'a>(&'a mut self, seen: &'a mut Seen) -> HeldSeen<'a, 'b> {
        HeldSeen { seen, held: self }
    }

    /// Lets others go first who wait.
    pub(crate) fn give_way(&mut self) {
        if let Some(guard) = &mut self.guard {
            MutexGuard::bump(guard);
        }
    }

    fn inner(&mut self) -> &mut Inner {
        self.guard.get_or_insert_with(|| self.of.inner.lock())
    }
}

impl Remembered for HeldSeen<'_, '_> {
    fn is_repeat(&mut self, id: &Hash, at_ms: i64, shorter_ms: Option<i64>) -> bool {
        self.held.inner().is_repeat((self.seen.number, &self.seen.key(id)), at_ms, shorter_ms)
    }

    fn is_beyond(&mut self, at_ms: i64, shorter_ms: Option<i64>) -> bool {
        self.held.inner().is_beyond(self.seen.number, at_ms, shorter_ms)
    }

    fn insert(&mut self, id: Hash, at_ms: i64) {
        self.held.inner().insert_all(self.seen.number, std::iter::once((self.seen.key(&id), at_ms)));
    }

    fn release(&mut self) {
        self.held.guard = None;
    }
}

/// Each question under a lock of its own.
#[cfg(test)]
impl Remembered for Seen {
    fn is_repeat(&mut self, id: &Hash, at_ms: i64, shorter_ms: Option<i64>) -> bool {
        self.identities.inner.lock().is_repeat((self.number, &self.key(id)), at_ms, shorter_ms)
    }

    fn is_beyond(&mut self, at_ms: i64, shorter_ms: Option<i64>) -> bool {
        self.identities.inner.lock().is_beyond(self.number, at_ms, shorter_ms)
    }

    fn insert(&mut self, id: Hash, at_ms: i64) {
        self.insert_all(std::iter::once((id, at_ms)));
    }

    fn release(&mut self) {}
}
