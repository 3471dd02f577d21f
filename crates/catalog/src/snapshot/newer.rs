//! What a newer release wrote and this build does not know all of: used as far as it is known, and not to be written again.

use schemas::control::ControlKey;

use super::Snapshot;
use crate::change::{ChangeKind, NewerObject};

impl Snapshot {
    /// Why what stands under a key is not to be written by this build, where a newer release wrote it: something in it, which is not
    /// known here, would be lost.
    #[must_use]
    pub fn newer(&self, key: &ControlKey) -> Option<&str> {
        self.newer.get(key).map(String::as_str)
    }

    /// Notes what a record says of that. What is only tried out changes nothing of it.
    pub(super) fn note_newer(&mut self, newer: Option<NewerObject>, kind: &ChangeKind) {
        match newer {
            Some(NewerObject { key: Some(key), why, .. }) => {
                self.newer.insert(key, why);
            }
            Some(NewerObject { key: None, .. }) => {}
            None if self.newer.is_empty() => {}
            None => {
                if let Some(key) = kind.key() {
                    self.newer.remove(&key);
                }
            }
        }
    }
}
