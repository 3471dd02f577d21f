//! What follows from changes that are not written yet: several decisions are made one after the other over one snapshot, each
//! over what those before it decided, and go into one transaction. Afterwards the snapshot is what it was.
//!
//! The real changes come from the topic, as everybody else's do. A second snapshot to try them on would be the whole catalog
//! twice in memory.

use std::sync::Arc;

use schemas::control::{ControlKey, ControlObject};
use vault::Vault;

use crate::change::{Change, ChangeKind};
use crate::snapshot::Snapshot;
use crate::stored::Object;

/// A snapshot on which changes are tried out. Nobody else reads it meanwhile: keep it short. Dropped, it takes all back.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    snapshot: &'a mut Snapshot,
    vault: &'a Arc<Vault>,
    /// What takes each change back, in the order they were made.
    undo: Vec<Undo>,
}

/// What stood under a key before it was changed.
#[derive(Debug)]
pub(crate) enum Undo {
    /// This, with its digest and its weight.
    Put(Object, u64, u32),
    /// Nothing.
    Remove(ControlKey),
}

impl<'a> Rehearsal<'a> {
    pub(crate) fn new(snapshot: &'a mut Snapshot, vault: &'a Arc<Vault>) -> Self {
        Self { snapshot, vault, undo: Vec::new() }
    }

    /// The snapshot with everything that was tried so far. Its position is that of the last record that was applied.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.snapshot
    }

    /// Tries an object in place of what stands under its key.
    ///
    /// # Errors
    /// Why no process could read it from the topic.
    pub fn put(&mut self, object: &ControlObject) -> Result<(), String> {
        match Change::of(object.clone(), self.snapshot.position(), self.vault).kind {
            ChangeKind::Put(object, digest, weight) => {
                self.undo.push(self.snapshot.undo(object.key()));
                self.snapshot.change(ChangeKind::Put(object, digest, weight));
                Ok(())
            }
            ChangeKind::Undecodable { reason, .. } => Err(reason),
            ChangeKind::Remove(_) | ChangeKind::Unknown => Ok(()),
        }
    }

    /// Tries what is left without the object under a key.
    pub fn remove(&mut self, key: &ControlKey) {
        self.undo.push(self.snapshot.undo(key.clone()));
        self.snapshot.change(ChangeKind::Remove(key.clone()));
    }
}

impl Drop for Rehearsal<'_> {
    fn drop(&mut self) {
        while let Some(undo) = self.undo.pop() {
            self.snapshot.change(match undo {
                Undo::Put(object, digest, weight) => ChangeKind::Put(object, digest, weight),
                Undo::Remove(key) => ChangeKind::Remove(key),
            });
        }
    }
}

impl Snapshot {
    /// What brings back what stands under a key now.
    fn undo(&self, key: ControlKey) -> Undo {
        match self.held(&key) {
            None => Undo::Remove(key),
            Some(object) => {
                let digest = if let Object::Subscription(it) = &object { it.digest() } else { self.digest_under(&key) };
                Undo::Put(object, digest, self.weight_under(&key))
            }
        }
    }
}
