//! When a token was last used: remembered in memory, told to everybody through `status`, never a write per request.
//!
//! ```text
//! gateway, control plane --touch--> TokenUse --every few seconds, what is new--> [status] role/instance/tokens-0..f
//!                                      ^                                            |
//!                                      +---- at the start: what it said before -----+
//!                                      +---- control plane: what everybody says ----+--> last_used
//! ```
//!
//! **Coarse**: a use within [`COARSE_MS`] of the one that is known is no news, so a token costs at most six records an hour and
//! instance, however often it is used.
//!
//! **Why it survives a restart**: an instance's record is compacted by its key and replaced as a whole, so a new process of
//! the same slot first reads what its predecessor said and goes on from there. What an instance that is gone for good said
//! stays until a control plane has made it its own ([`share`]). `control` is not written: a token's use would change its
//! entity tag, fill the audit and compete with those who manage.
//!
//! What it leaves to others: which use counts (the roles touch after they have authenticated), and showing it.

mod share;

use std::collections::BTreeMap;

use parking_lot::Mutex;
use uuid::Uuid;

pub use share::{HearsStatus, UseDeps, share_use};

/// A use this soon after the known one is no news.
pub const COARSE_MS: i64 = 10 * 60 * 1_000;
/// Tokens are spread by the last digit of their id, so that one record holds a sixteenth of them.
pub(crate) const SHARDS: usize = 16;
/// Tokens of one shard; above it the least recently used one is forgotten. At 53 bytes each a full record fits a topic's
/// 1 MiB, all sixteen hold 160,000 tokens.
const MAX_TOKENS: usize = 10_000;

/// The uses this process knows of. One per process, however many roles touch it.
#[derive(Debug, Default)]
pub struct TokenUse {
    shards: [Mutex<UsageShard>; SHARDS],
}

#[derive(Debug, Default)]
struct UsageShard {
    /// What this instance says: its own and its predecessors'.
    own: BTreeMap<Uuid, i64>,
    /// What others say; empty in processes that do not ask.
    others: BTreeMap<Uuid, i64>,
    /// `own` holds news.
    changed: bool,
}

// === impl TokenUse ===

impl TokenUse {
    /// A token was used.
    pub fn touch(&self, token: Uuid, now_ms: i64) {
        let mut shard = self.shards[shard_of(token)].lock();
        if shard.own.get(&token).is_some_and(|known| now_ms - known < COARSE_MS) {
            return;
        }
        shard.changed |= keep_latest(&mut shard.own, token, now_ms);
    }

    /// When a token was last used, as far as this process knows.
    #[must_use]
    pub fn last_used(&self, token: Uuid) -> Option<i64> {
        let shard = self.shards[shard_of(token)].lock();
        shard.own.get(&token).copied().max(shard.others.get(&token).copied())
    }

    /// What the predecessor said: no news, it stands in the topic.
    pub(crate) fn restore(&self, said: &BTreeMap<Uuid, i64>) {
        for (token, at_ms) in said {
            keep_latest(&mut self.shards[shard_of(*token)].lock().own, *token, *at_ms);
        }
    }

    /// Says from now on what others said of a shard, because some of them are gone.
    pub(crate) fn adopt(&self, shard: usize) {
        let mut shard = self.shards[shard].lock();
        let UsageShard { own, others, changed } = &mut *shard;
        for (token, at_ms) in others {
            *changed |= keep_latest(own, *token, *at_ms);
        }
    }

    /// What another instance says.
    pub(crate) fn heard(&self, said: &BTreeMap<Uuid, i64>) {
        for (token, at_ms) in said {
            keep_latest(&mut self.shards[shard_of(*token)].lock().others, *token, *at_ms);
        }
    }

    /// The tokens of a shard if there is something to tell; then it counts as told.
    pub(crate) fn take_news(&self, shard: usize) -> Option<BTreeMap<Uuid, i64>> {
        let mut shard = self.shards[shard].lock();
        std::mem::take(&mut shard.changed).then(|| shard.own.clone())
    }

    /// Whether there is something to tell.
    pub(crate) fn has_news(&self, shard: usize) -> bool {
        self.shards[shard].lock().changed
    }

    /// It could not be told.
    pub(crate) fn untold(&self, shard: usize) {
        self.shards[shard].lock().changed = true;
    }
}

fn shard_of(token: Uuid) -> usize {
    // The last byte of a v7 id is random; its first ones are the time.
    usize::from(token.as_bytes()[15] % 16)
}

/// Whether it was news. The table keeps its bound.
fn keep_latest(table: &mut BTreeMap<Uuid, i64>, token: Uuid, at_ms: i64) -> bool {
    if table.get(&token).is_some_and(|known| *known >= at_ms) {
        return false;
    }
    table.insert(token, at_ms);
    if table.len() > MAX_TOKENS
        && let Some(oldest) = table.iter().min_by_key(|(_, at_ms)| **at_ms).map(|(token, _)| *token)
    {
        table.remove(&oldest);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Uuid = Uuid::from_u128(0x10);

    #[test]
    fn a_use_is_news_once_in_ten_minutes() {
        let used = TokenUse::default();
        assert_eq!(used.last_used(TOKEN), None);
        used.touch(TOKEN, 1_000_000);
        assert_eq!(used.take_news(0), Some(BTreeMap::from([(TOKEN, 1_000_000)])));
        used.touch(TOKEN, 1_000_000 + COARSE_MS - 1);
        assert_eq!(used.take_news(0), None, "no write per request");
        assert_eq!(used.last_used(TOKEN), Some(1_000_000));
        used.touch(TOKEN, 1_000_000 + COARSE_MS);
        assert_eq!(used.take_news(0), Some(BTreeMap::from([(TOKEN, 1_000_000 + COARSE_MS)])));
    }

    #[test]
    fn what_could_not_be_told_is_told_again() {
        let used = TokenUse::default();
        used.touch(TOKEN, 5);
        assert!(used.take_news(0).is_some());
        used.untold(0);
        assert!(used.take_news(0).is_some());
    }

    #[test]
    fn a_restart_goes_on_from_what_was_said_and_the_latest_of_all_counts() {
        let used = TokenUse::default();
        used.restore(&BTreeMap::from([(TOKEN, 7)]));
        assert_eq!((used.last_used(TOKEN), used.take_news(0)), (Some(7), None), "it stands in the topic already");
        used.heard(&BTreeMap::from([(TOKEN, 9)]));
        assert_eq!(used.last_used(TOKEN), Some(9));
        used.heard(&BTreeMap::from([(TOKEN, 8)]));
        assert_eq!(used.last_used(TOKEN), Some(9));
        assert_eq!(used.take_news(0), None, "others say it themselves");
        used.adopt(0);
        assert_eq!(used.take_news(0), Some(BTreeMap::from([(TOKEN, 9)])), "one that is gone is said by us");
        used.adopt(0);
        assert_eq!(used.take_news(0), None);
    }

    #[test]
    fn memory_is_bounded_and_the_least_recent_goes_first() {
        let used = TokenUse::default();
        for (number, at_ms) in (0..=MAX_TOKENS as u128).zip(1..) {
            used.touch(Uuid::from_u128(number << 8), at_ms);
        }
        let told = used.take_news(0).unwrap();
        assert_eq!(told.len(), MAX_TOKENS);
        assert!(!told.contains_key(&Uuid::from_u128(0)));
        assert_eq!(used.last_used(Uuid::from_u128((MAX_TOKENS as u128) << 8)), Some(10_001));
    }
}
