//! Which event ids this replica had acknowledged lately, and which are under way: the 409 rule.
//!
//! ```text
//! claim -> New ------- acknowledged --> known: later claims are Known (409)
//!       -> Known          \-- failed, timed out, client gone --> forgotten: the next claim is New
//!       -> Busy: wait for the one under way, then claim again
//! ```
//!
//! An id becomes known only after its acknowledgement, because clients count a 409 on a repeat as success: one that came
//! earlier would be loss. For the same reason ids are kept as 128-bit keyed hashes: nobody can make two ids collide.
//!
//! Memory: two generations per shard. When the younger one is full, the older one is forgotten as a whole; an id that is asked
//! for moves to the younger one. So the last `capacity / 2` ids are always known, at about 35 bytes each, without one
//! allocation per id.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use schemas::ids::ApplicationId;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Locks: enough that cores do not wait for each other.
const SHARDS: usize = 16;

/// The keyed hash of one event's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdKey(u128);

/// The memory of ids.
#[derive(Debug)]
pub(crate) struct RecentIds {
    hashers: [RandomState; 2],
    shards: [Mutex<IdShard>; SHARDS],
    /// Ids of one generation of one shard; 0 remembers nothing.
    generation: usize,
}

/// What a claim found.
#[derive(Debug)]
pub(crate) enum Claim<'a> {
    /// Nobody has it: it is the caller's until [`ClaimedId::confirm`] or drop.
    New(ClaimedId<'a>),
    /// It was acknowledged.
    Known,
    /// Somebody is at it; resolves when that is over.
    Busy(OwnedNotified),
}

/// An id under way. Dropped unconfirmed, it is forgotten.
#[derive(Debug)]
pub(crate) struct ClaimedId<'a> {
    ids: &'a RecentIds,
    key: IdKey,
    confirmed: bool,
}

#[derive(Debug, Default)]
struct IdShard {
    younger: HashSet<IdKey, BuildHasherDefault<Hashed>>,
    older: HashSet<IdKey, BuildHasherDefault<Hashed>>,
    /// With a bell as soon as somebody waits.
    under_way: HashMap<IdKey, Option<Arc<Notify>>, BuildHasherDefault<Hashed>>,
}

/// Keys are hashes already.
#[derive(Debug, Default)]
pub(crate) struct Hashed(u64);

// === impl RecentIds ===

impl RecentIds {
    /// Remembers up to `capacity` ids; 0 remembers none.
    pub(crate) fn new(capacity: usize) -> Self {
        let generation = capacity.div_ceil(2 * SHARDS);
        Self { hashers: [RandomState::new(), RandomState::new()], shards: Default::default(), generation }
    }

    /// The key of an event's identity.
    pub(crate) fn key(&self, application: ApplicationId, source: Option<&str>, id: &str) -> IdKey {
        let [high, low] = [0, 1].map(|half: usize| {
            let mut hasher = self.hashers[half].build_hasher();
            hasher.write(application.0.as_bytes());
            // A source cannot hold this byte, so the parts cannot be moved against each other.
            hasher.write(source.unwrap_or_default().as_bytes());
            hasher.write_u8(0xff);
            hasher.write(id.as_bytes());
            hasher.finish()
        });
        IdKey(u128::from(high) << 64 | u128::from(low))
    }

    /// Takes an id, unless it is known or under way.
    pub(crate) fn claim(&self, key: IdKey) -> Claim<'_> {
        let mut shard = self.shard(key).lock();
        if shard.knows(key, self.generation) {
            return Claim::Known;
        }
        if let Some(bell) = shard.under_way.get_mut(&key) {
            // Taken under the lock: a bell that rings after this is heard.
            return Claim::Busy(Arc::clone(bell.get_or_insert_with(Arc::default)).notified_owned());
        }
        shard.under_way.insert(key, None);
        Claim::New(ClaimedId { ids: self, key, confirmed: false })
    }

    /// Takes an id as soon as nobody else is at it; `None` when it was acknowledged.
    pub(crate) async fn claim_in_turn(&self, key: IdKey) -> Option<ClaimedId<'_>> {
        loop {
            match self.claim(key) {
                Claim::New(claimed) => return Some(claimed),
                Claim::Known => return None,
                Claim::Busy(over) => over.await,
            }
        }
    }

    fn shard(&self, key: IdKey) -> &Mutex<IdShard> {
        // The table inside uses the low half.
        let index = usize::try_from(key.0 >> 124).expect("four bits fit");
        &self.shards[index]
    }

    fn end(&self, key: IdKey, confirmed: bool) {
        let mut shard = self.shard(key).lock();
        let bell = shard.under_way.remove(&key).flatten();
        if confirmed {
            shard.remember(key, self.generation);
        }
        drop(shard);
        if let Some(bell) = bell {
            bell.notify_waiters();
        }
    }
}

// === impl ClaimedId ===

impl ClaimedId<'_> {
    /// The record was acknowledged: from now on the id is known.
    pub(crate) fn confirm(mut self) {
        self.confirmed = true;
    }
}

impl Drop for ClaimedId<'_> {
    fn drop(&mut self) {
        self.ids.end(self.key, self.confirmed);
    }
}

// === impl IdShard ===

impl IdShard {
    fn knows(&mut self, key: IdKey, generation: usize) -> bool {
        if self.younger.contains(&key) {
            return true;
        }
        let known = self.older.remove(&key);
        if known {
            self.remember(key, generation);
        }
        known
    }

    fn remember(&mut self, key: IdKey, generation: usize) {
        if generation == 0 {
            return;
        }
        if self.younger.len() >= generation {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key);
    }
}

// === impl Hashed ===

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("an id's key hashes as one u128");
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low half is the hash")]
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(ids: &RecentIds, id: &str) -> IdKey {
        ids.key(ApplicationId(Uuid::from_u128(1)), None, id)
    }

    fn confirm(ids: &RecentIds, id: &str) {
        let Claim::New(claimed) = ids.claim(key(ids, id)) else { panic!("{id} is not new") };
        claimed.confirm();
    }

    #[test]
    fn an_id_is_known_after_its_confirmation_and_not_before() {
        let ids = RecentIds::new(100);
        let claimed = ids.claim(key(&ids, "a"));
        assert!(matches!(claimed, Claim::New(_)));
        assert!(matches!(ids.claim(key(&ids, "a")), Claim::Busy(_)));
        drop(claimed);
        confirm(&ids, "a");
        assert!(matches!(ids.claim(key(&ids, "a")), Claim::Known));
    }

    #[test]
    fn application_source_and_id_all_count() {
        let ids = RecentIds::new(100);
        let [one, two] = [1, 2].map(|id| ApplicationId(Uuid::from_u128(id)));
        assert_eq!(ids.key(one, None, "a"), ids.key(one, None, "a"));
        assert_ne!(ids.key(one, None, "a"), ids.key(two, None, "a"));
        assert_ne!(ids.key(one, Some("x"), "ya"), ids.key(one, Some("xy"), "a"));
        assert_ne!(ids.key(one, None, "a"), RecentIds::new(100).key(one, None, "a"), "the key is secret");
    }

    #[test]
    fn memory_is_bounded_and_the_latest_are_kept() {
        let ids = RecentIds::new(320);
        for id in 0..100_000 {
            confirm(&ids, &id.to_string());
        }
        let held = |shard: &Mutex<IdShard>| {
            let shard = shard.lock();
            shard.younger.len() + shard.older.len()
        };
        let held: usize = ids.shards.iter().map(held).sum();
        assert!(held <= 320, "{held}");
        assert!(matches!(ids.claim(key(&ids, "99999")), Claim::Known));
        assert!(matches!(ids.claim(key(&ids, "1")), Claim::New(_)));
        assert!(ids.shards.iter().all(|shard| shard.lock().under_way.is_empty()));
    }

    #[test]
    fn a_capacity_of_zero_remembers_nothing() {
        let ids = RecentIds::new(0);
        confirm(&ids, "a");
        confirm(&ids, "a");
    }

    #[tokio::test]
    async fn a_concurrent_repeat_waits_and_finds_the_outcome() {
        let ids = RecentIds::new(100);
        for succeed in [false, true] {
            let Claim::New(mut first) = ids.claim(key(&ids, "a")) else { panic!("not new") };
            first.confirmed = succeed;
            let repeat = ids.claim_in_turn(key(&ids, "a"));
            let settle = async {
                tokio::task::yield_now().await;
                drop(first);
            };
            let (repeat, ()) = tokio::join!(repeat, settle);
            assert_eq!(repeat.is_none(), succeed);
        }
    }
}
