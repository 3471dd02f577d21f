//! What a write is decided over, and what it comes to.

use schemas::control::{ControlKey, ControlObject};
use schemas::record::OutRecord;

/// What a decision may look at beside the snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// An end of `control` that the snapshot has reached and that no other write can lie behind: what is matched from the
    /// write on has seen everything below.
    pub(crate) end: i64,
    /// Unix ms.
    pub(crate) now_ms: i64,
}

/// A change of one object.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// It is this now.
    Put(ControlObject),
    /// It is gone.
    Remove(ControlKey),
}

/// What a decision comes to: changes for one transaction (none: nothing is written) and what to answer.
#[derive(Debug)]
pub(crate) struct Decision<T> {
    pub(crate) changes: Vec<Change>,
    /// Records of other topics, in the same transaction as the changes. Without a change nobody can look for the transaction where
    /// its outcome is unknown: then the write's is unknown too.
    pub(crate) beside: Vec<OutRecord>,
    /// Objects that something is done with which changes nothing of them: it is audited as what the actor does.
    pub(crate) used: Vec<ControlKey>,
    pub(crate) answer: T,
}

// === impl Change ===

impl Change {
    /// The key of the object that is changed.
    pub(crate) fn key(&self) -> ControlKey {
        match self {
            Self::Put(object) => object.key(),
            Self::Remove(key) => key.clone(),
        }
    }

    /// What is put.
    pub(super) fn put(&self) -> Option<&ControlObject> {
        match self {
            Self::Put(object) => Some(object),
            Self::Remove(_) => None,
        }
    }

    /// The key of the subscription that is changed, if it is one.
    pub(super) fn subscription(&self) -> Option<ControlKey> {
        Some(self.key()).filter(|key| matches!(key, ControlKey::Subscription(..)))
    }
}

// === impl Decision ===

impl<T> Decision<T> {
    pub(crate) fn put(object: ControlObject, answer: T) -> Self {
        Self::of(vec![Change::Put(object)], answer)
    }

    pub(crate) fn nothing(answer: T) -> Self {
        Self::of(Vec::new(), answer)
    }

    pub(crate) fn of(changes: Vec<Change>, answer: T) -> Self {
        Self { changes, beside: Vec::new(), used: Vec::new(), answer }
    }

    /// The same with another answer.
    pub(crate) fn answering<U>(self, answer: impl FnOnce(T) -> U) -> Decision<U> {
        Decision { changes: self.changes, beside: self.beside, used: self.used, answer: answer(self.answer) }
    }
}
