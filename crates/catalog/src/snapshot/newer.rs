//! Objects that a newer release has written. This one reads what it knows of them; were it to write them again, the rest would be lost.

use std::collections::HashSet;

use schemas::control::ControlKey;

use super::Snapshot;
use crate::change::{Change, ChangeKind};

/// Their keys. As many as there are objects at most: what is held of each is a small part of the object.
#[derive(Debug, Default)]
pub(super) struct NewerObjects(HashSet<ControlKey>);

impl NewerObjects {
    /// A record was applied.
    pub(super) fn note(&mut self, change: &Change) {
        match &change.kind {
            // Nobody writes a kept answer again.
            ChangeKind::Put(object, ..) if change.is_newer && !object.is_kept_answer() => {
                self.0.insert(object.key());
            }
            ChangeKind::Put(object, ..) if !self.0.is_empty() => {
                self.0.remove(&object.key());
            }
            ChangeKind::Remove(key) => {
                self.0.remove(key);
            }
            // The former object stays in memory; on the topic it is another.
            ChangeKind::Undecodable { key, .. } if change.is_newer => self.0.extend(ControlKey::parse(key)),
            ChangeKind::Put(..) | ChangeKind::Unknown | ChangeKind::Undecodable { .. } => {}
        }
    }
}

impl Snapshot {
    /// Whether a newer release has written the object under this key.
    #[must_use]
    pub fn is_newer(&self, key: &ControlKey) -> bool {
        self.newer.0.contains(key)
    }

    /// How many objects a newer release has written.
    #[must_use]
    pub fn newer_objects(&self) -> usize {
        self.newer.0.len()
    }
}
