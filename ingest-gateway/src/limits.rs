//! How many events an application and its organization may send: per second and per day. Pure: `now` is an argument.
//!
//! Every replica enforces its share, `limit / replicas`, and counts only what it handed to Kafka itself; it asks nobody. So the
//! sum is right where a balancer spreads evenly, and stricter where it does not. What is counted is in memory: a replica that
//! restarts begins its day anew, which lets at most one share more pass.
//!
//! An application stands in the shard of its organization, so one short lock covers both. What has no limit costs no lock.

use std::collections::HashMap;

use parking_lot::Mutex;
use retry::TokenBucket;
use schemas::ids::{ApplicationId, OrganizationId};
use uuid::Uuid;

/// Locks: enough that organizations do not wait for each other.
const SHARDS: usize = 16;
/// Limited applications and organizations that one shard counts; beyond that they pass uncounted. About 5 MB.
const SHARD_KEYS: usize = 65_536;
/// A full shard looks for what can be forgotten at most this often.
const SWEEP_EVERY_MS: i64 = 1_000;
/// Whom a rate of 0 shuts out may ask again then.
const SHUT_S: u32 = 60;
const DAY_MS: i64 = 86_400_000;
const SECOND_MS: i64 = 1_000;
/// More than this many in a second nobody counts one by one.
const MAX_RATE: f64 = 1_000_000.0;

/// What one application or organization may send; absent is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Events per second, over all replicas.
    pub(crate) per_second: Option<u32>,
    /// Events per day of UTC, over all replicas.
    pub(crate) per_day: Option<u64>,
}

/// Whose limits an event counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Senders {
    /// The application.
    pub(crate) application: ApplicationId,
    /// Its limits.
    pub(crate) application_allowance: Allowance,
    /// Its organization.
    pub(crate) organization: OrganizationId,
    /// The organization's limits.
    pub(crate) organization_allowance: Allowance,
}

/// Which of the two is beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The application.
    Application,
    /// The organization.
    Organization,
}

/// Why an event may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Too many in a short time; try again in so many seconds.
    Rate {
        /// Whose limit.
        whose: Whose,
        /// The limit, over all replicas.
        per_second: u32,
        /// Whole seconds, at least 1.
        retry_after_s: u32,
    },
    /// Too many today.
    Quota {
        /// Whose limit.
        whose: Whose,
        /// The limit, over all replicas.
        per_day: u64,
    },
}

/// What was counted for an event, to be given back if it is not accepted after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    senders: Senders,
    day: i64,
}

/// The counts of this replica.
#[derive(Debug)]
pub(crate) struct SendLimits {
    replicas: u32,
    shards: [Mutex<LimitShard>; SHARDS],
    shard_keys: usize,
}

#[derive(Debug, Default)]
struct LimitShard {
    usages: HashMap<Uuid, Usage>,
    next_sweep_ms: i64,
}

/// What one application or organization has used.
#[derive(Debug)]
struct Usage {
    /// The rate the bucket was made for, and the bucket.
    bucket: Option<(u32, TokenBucket)>,
    /// Days since 1970.
    day: i64,
    /// Events of that day.
    used: u64,
}

// === impl Allowance ===

impl Allowance {
    /// What is set here, else there.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { per_second: self.per_second.or(other.per_second), per_day: self.per_day.or(other.per_day) }
    }

    fn is_unlimited(self) -> bool {
        self == Self::default()
    }
}

// === impl Senders ===

impl Senders {
    fn limited(&self) -> impl Iterator<Item = (Whose, Uuid, Allowance)> {
        let application = (Whose::Application, self.application.0, self.application_allowance);
        let organization = (Whose::Organization, self.organization.0, self.organization_allowance);
        [application, organization].into_iter().filter(|(_, _, allowance)| !allowance.is_unlimited())
    }
}

// === impl SendLimits ===

impl SendLimits {
    /// Counts for one of so many replicas.
    pub(crate) fn new(replicas: u32) -> Self {
        Self { replicas: replicas.max(1), shards: Default::default(), shard_keys: SHARD_KEYS }
    }

    /// Counts an event, or says which limit it is beyond; then nothing is counted. `None`: there is no limit to count against.
    pub(crate) fn take(&self, senders: Senders, now_ms: i64) -> Result<Option<Counted>, Over> {
        if senders.limited().next().is_none() {
            return Ok(None);
        }
        let day = now_ms.div_euclid(DAY_MS);
        let mut shard = self.shard(senders.organization).lock();
        shard.make_room(self.shard_keys, now_ms);
        // Both are asked before either counts: what one refuses is not used up at the other.
        for (whose, key, allowance) in senders.limited() {
            let Some(usage) = shard.usage(key, self.shard_keys) else { continue };
            usage.turn(day, allowance, self.replicas);
            usage.ask(whose, allowance, self.replicas, now_ms)?;
        }
        for (_whose, key, _allowance) in senders.limited() {
            if let Some(usage) = shard.usages.get_mut(&key) {
                usage.count(now_ms);
            }
        }
        Ok(Some(Counted { senders, day }))
    }

    /// Says whether an event would be beyond a rate, and counts nothing: asked before a body is read, so that who sends too fast
    /// costs no more than his heads. The day's quota is asked with the event, which may be a repeat and count against nothing.
    pub(crate) fn ask_rate(&self, senders: Senders, now_ms: i64) -> Result<(), Over> {
        if senders.limited().all(|(_, _, allowance)| allowance.per_second.is_none()) {
            return Ok(());
        }
        let shard = self.shard(senders.organization).lock();
        for (whose, key, allowance) in senders.limited() {
            let allowance = Allowance { per_day: None, ..allowance };
            // A rate that was changed is taken over with the next event that counts.
            let usage = shard.usages.get(&key).filter(|usage| usage.rate() == allowance.per_second);
            match usage {
                Some(usage) => usage.ask(whose, allowance, self.replicas, now_ms)?,
                None if allowance.per_second == Some(0) => {
                    return Err(Over::Rate { whose, per_second: 0, retry_after_s: SHUT_S });
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The event was not accepted: it does not count against the day. Its place in the second is used up.
    pub(crate) fn give_back(&self, counted: Counted) {
        let mut shard = self.shard(counted.senders.organization).lock();
        for (_whose, key, _allowance) in counted.senders.limited() {
            if let Some(usage) = shard.usages.get_mut(&key)
                && usage.day == counted.day
            {
                usage.used = usage.used.saturating_sub(1);
            }
        }
    }

    fn shard(&self, organization: OrganizationId) -> &Mutex<LimitShard> {
        // The last byte is random in every version of a UUID.
        let [.., last] = organization.0.into_bytes();
        &self.shards[usize::from(last) % SHARDS]
    }
}

// === impl LimitShard ===

impl LimitShard {
    fn usage(&mut self, key: Uuid, limit: usize) -> Option<&mut Usage> {
        if !self.usages.contains_key(&key) && self.usages.len() >= limit {
            return None;
        }
        Some(self.usages.entry(key).or_insert(Usage { bucket: None, day: i64::MIN, used: 0 }))
    }

    /// Forgets what says nothing: unused today, and its bucket is full.
    fn make_room(&mut self, limit: usize, now_ms: i64) {
        if self.usages.len() < limit || now_ms < self.next_sweep_ms {
            return;
        }
        self.next_sweep_ms = now_ms.saturating_add(SWEEP_EVERY_MS);
        let day = now_ms.div_euclid(DAY_MS);
        self.usages.retain(|_, usage| {
            let busy = usage.bucket.as_ref().is_some_and(|(_, bucket)| !bucket.is_full(now_ms));
            busy || (usage.day == day && usage.used > 0)
        });
    }
}

// === impl Usage ===

impl Usage {
    /// Turns to the day and the limits of now; a changed rate keeps what is used up.
    fn turn(&mut self, day: i64, allowance: Allowance, replicas: u32) {
        if self.day != day {
            self.day = day;
            self.used = 0;
        }
        let known = self.rate();
        let Some(rate) = allowance.per_second else {
            self.bucket = None;
            return;
        };
        if known == Some(rate) {
            return;
        }
        let (share, burst) = share_of_rate(rate, replicas);
        let bucket = match self.bucket.take() {
            Some((_, mut bucket)) => bucket.set_rate(share, burst).map(|()| bucket),
            None => TokenBucket::new(share, burst),
        };
        self.bucket = bucket.ok().map(|bucket| (rate, bucket));
    }

    /// The rate its bucket was made for.
    fn rate(&self) -> Option<u32> {
        self.bucket.as_ref().map(|(rate, _)| *rate)
    }

    fn ask(&self, whose: Whose, allowance: Allowance, replicas: u32, now_ms: i64) -> Result<(), Over> {
        if let Some(per_day) = allowance.per_day
            && self.used >= per_day.div_ceil(u64::from(replicas))
        {
            return Err(Over::Quota { whose, per_day });
        }
        if allowance.per_second == Some(0) {
            return Err(Over::Rate { whose, per_second: 0, retry_after_s: SHUT_S });
        }
        let Some((per_second, bucket)) = &self.bucket else { return Ok(()) };
        let wait_ms = bucket.next_ms(now_ms).saturating_sub(now_ms);
        if wait_ms <= 0 {
            return Ok(());
        }
        let seconds = (wait_ms.saturating_add(SECOND_MS - 1) / SECOND_MS).max(1);
        let retry_after_s = u32::try_from(seconds).unwrap_or(u32::MAX);
        Err(Over::Rate { whose, per_second: *per_second, retry_after_s })
    }

    fn count(&mut self, now_ms: i64) {
        self.used = self.used.saturating_add(1);
        if let Some((_, bucket)) = &mut self.bucket {
            // It was asked under the same lock.
            bucket.try_take(now_ms);
        }
    }
}

/// A replica's part of a rate, and how many may come at once: what the second allows, at least one.
fn share_of_rate(per_second: u32, replicas: u32) -> (f64, u32) {
    let share = (f64::from(per_second) / f64::from(replicas)).clamp(0.000_1, MAX_RATE);
    (share, per_second.div_ceil(replicas).max(1))
}

#[cfg(test)]
mod tests;
