//! A number that two processes compare: equal snapshots have equal digests, in whatever order their objects came.

use std::collections::HashMap;

use schemas::control::ControlKey;

/// Bits that a metric shows: what a 64-bit float holds exactly.
const SHOWN_BITS: u32 = 52;

/// The sum over all objects.
#[derive(Debug, Default)]
pub(crate) struct Digest {
    sum: u64,
    /// What each object adds that does not know it itself, as subscriptions do.
    known: HashMap<ControlKey, DigestEntry>,
}

/// What is known of an object.
#[derive(Clone, Copy, Debug)]
struct DigestEntry {
    digest: u64,
    weight: u32,
}

impl Digest {
    /// The object under this key is another one now.
    pub(crate) fn put(&mut self, key: ControlKey, digest: u64, weight: u32) {
        let former = self.known.insert(key, DigestEntry { digest, weight });
        self.swap(former.map(|it| it.digest), Some(digest));
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, key: &ControlKey) {
        let former = self.known.remove(key);
        self.swap(former.map(|it| it.digest), None);
    }

    /// Bytes it takes in memory, 0 if it is not there.
    pub(crate) fn weight(&self, key: &ControlKey) -> u32 {
        self.known.get(key).map_or(0, |it| it.weight)
    }

    /// What it adds, 0 if it is not there.
    pub(crate) fn digest(&self, key: &ControlKey) -> u64 {
        self.known.get(key).map_or(0, |it| it.digest)
    }

    /// An object that knows what it adds has come, gone or changed.
    pub(crate) fn swap(&mut self, former: Option<u64>, now: Option<u64>) {
        self.sum = self.sum.wrapping_sub(former.unwrap_or(0)).wrapping_add(now.unwrap_or(0));
    }

    pub(crate) fn sum(&self) -> u64 {
        self.sum & ((1 << SHOWN_BITS) - 1)
    }
}
