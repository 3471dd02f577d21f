//! What follows from changes that are not written yet: several decisions are made one after the other over one snapshot, each
//! over what those before it decided, and go into one transaction. Afterwards the snapshot is what it was.
//!
//! The real changes come from the topic, as everybody else's do. A second snapshot to try them on would be the whole catalog
//! twice in memory.

use std::collections::HashSet;
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
    undo: Vec<KeyState>,
}

/// What was tried in a rehearsal that is over: another one goes on from there.
#[derive(Debug, Default)]
pub struct Rehearsed(Vec<KeyState>);

/// How many changes a rehearsal has tried so far.
#[derive(Clone, Copy, Debug)]
pub struct RehearsalMark(usize);

/// What stands under a key.
#[derive(Clone, Debug)]
enum KeyState {
    /// This, with its digest and its weight.
    Put(Object, u64, u32),
    /// Nothing.
    Nothing(ControlKey),
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
                self.change(KeyState::Put(object, digest, weight));
                Ok(())
            }
            ChangeKind::Undecodable { reason, .. } => Err(reason),
            ChangeKind::Remove(_) | ChangeKind::Unknown => Ok(()),
        }
    }

    /// Tries what is left without the object under a key.
    pub fn remove(&mut self, key: &ControlKey) {
        self.change(KeyState::Nothing(key.clone()));
    }

    /// Where it is now.
    #[must_use]
    pub fn mark(&self) -> RehearsalMark {
        RehearsalMark(self.undo.len())
    }

    /// Takes back what was tried since.
    pub fn take_back(&mut self, RehearsalMark(since): RehearsalMark) {
        while self.undo.len() > since
            && let Some(former) = self.undo.pop()
        {
            self.snapshot.change(former.into());
        }
    }

    /// What it has come to so far, for another rehearsal.
    #[must_use]
    pub fn rehearsed(&self) -> Rehearsed {
        let mut seen = HashSet::new();
        let keys = self.undo.iter().map(KeyState::key).filter(|key| seen.insert(key.clone()));
        Rehearsed(keys.map(|key| self.snapshot.state_of(key)).collect())
    }

    /// Goes on from where another one ended. What was compiled for that one is not compiled again.
    pub fn go_on_from(&mut self, Rehearsed(states): &Rehearsed) {
        for state in states {
            self.change(state.clone());
        }
    }

    fn change(&mut self, state: KeyState) {
        // Where somebody has written since another rehearsal, its uid may be taken: who has it gets it back at the end.
        if let KeyState::Put(object, ..) = &state
            && let Some(key) = self.snapshot.holder_of_uid(object)
        {
            self.undo.push(self.snapshot.state_of(key));
        }
        self.undo.push(self.snapshot.state_of(state.key()));
        self.snapshot.change(state.into());
    }
}

impl Drop for Rehearsal<'_> {
    fn drop(&mut self) {
        self.take_back(RehearsalMark(0));
    }
}

// === impl KeyState ===

impl KeyState {
    fn key(&self) -> ControlKey {
        match self {
            Self::Put(object, ..) => object.key(),
            Self::Nothing(key) => key.clone(),
        }
    }
}

impl From<KeyState> for ChangeKind {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Put(object, digest, weight) => Self::Put(object, digest, weight),
            KeyState::Nothing(key) => Self::Remove(key),
        }
    }
}

impl Snapshot {
    /// What stands under a key now.
    fn state_of(&self, key: ControlKey) -> KeyState {
        match self.held(&key) {
            None => KeyState::Nothing(key),
            Some(object) => {
                let digest = if let Object::Subscription(it) = &object { it.digest() } else { self.digest_under(&key) };
                KeyState::Put(object, digest, self.weight_under(&key))
            }
        }
    }

    /// Another object that is found by the uid of this one now, and would not be once this one is put.
    fn holder_of_uid(&self, object: &Object) -> Option<ControlKey> {
        match object {
            Object::Organization(new) => {
                let holder = self.organization_called(new.uid.as_deref()?)?;
                let key = ControlKey::Organization(holder.organization_id);
                (holder.organization_id != new.organization_id).then_some(key)
            }
            Object::Subscription(new) => {
                let holder = self.held_uid(new.application(), new.uid()?)?;
                (holder.id() != new.id()).then(|| ControlKey::Subscription(holder.application(), holder.id()))
            }
            // Their uids are no keys of a table: one hides no other.
            Object::ServiceToken(..)
            | Object::Application(_)
            | Object::ApplicationSecret(..)
            | Object::RetiredApplication(_)
            | Object::EventType(_)
            | Object::Source(_)
            | Object::SchemaRegistry(_)
            | Object::KeptAnswer(_)
            | Object::CancelledJob(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
