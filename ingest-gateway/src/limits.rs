//! How many events an application and its organization may send: per second and per day. Pure: `now` is an argument.
//!
//! Every replica enforces its share, `limit / replicas`, and counts only what it handed to Kafka itself; it asks nobody. So the
//! sum is right where a balancer spreads evenly, and stricter where it does not. What is counted is in memory: a replica that
//! restarts begins its day anew, which lets at most one share more pass.
//!
//! How many replicas there are may change ([`crate::replicas`]). Each event stands for one of every replica there was when it came, so
//! a day's quota goes on from where all of them are: a replica that is left alone has what is left of the whole.
//!
//! The instance's default counts for all applications of an organization together where neither has a limit of its own:
//! otherwise whoever makes one application more has it once more. An organization with a limit bounds its applications by that.
//!
//! What is refused after its body was read has cost as much as what is accepted, and counts in buckets of its own: as much as may be
//! accepted may be refused, and takes no place of it. It counts for whose token it came with, who is asked by the head of the next request.
//! One request can have a thousand events: what is beyond the bucket is owed, up to 10 s of its rate.
//!
//! What an organization's events are counted in is its own ([`usage`]): one short lock covers all of an event, and nobody's keys
//! take the place of another's. What has no limit costs no lock.

mod usage;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use schemas::ids::{ApplicationId, OrganizationId};

use self::usage::OrganizationUsage;

/// Locks: enough that organizations do not wait for each other.
const SHARDS: usize = 16;
/// Limited applications that are counted one by one for an organization; more share one count. About 1 MB.
const APPLICATION_KEYS: usize = 16_384;
/// With so many organizations a shard looks for those that it can forget. Each has a place all the same: only the operator makes
/// organizations.
const SHARD_ORGANIZATIONS: usize = 4_096;
/// What is full looks for what can be forgotten at most this often.
const SWEEP_EVERY_MS: i64 = 1_000;
/// Whom a rate of 0 shuts out may ask again then.
const SHUT_S: u32 = 60;
const DAY_MS: i64 = 86_400_000;

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
    /// The instance's default, where neither has a limit.
    pub(crate) shared_allowance: Allowance,
}

/// Which of them is beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The application.
    Application,
    /// All applications of the organization that have no limit.
    Unlimited,
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
    /// Too many were refused in a short time; try again in so many seconds.
    Refused {
        /// Whose limit.
        whose: Whose,
        /// As many may be, over all replicas.
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
    /// Against which day, by [`Whose`].
    days: [i64; 3],
    /// How many events it stood for.
    replicas: u32,
}

/// The counts of this replica.
#[derive(Debug)]
pub(crate) struct SendLimits {
    replicas: AtomicU32,
    shards: [Mutex<LimitShard>; SHARDS],
    application_keys: usize,
}

#[derive(Debug, Default)]
struct LimitShard {
    organizations: HashMap<OrganizationId, OrganizationUsage>,
    next_sweep_ms: i64,
}

// === impl Allowance ===

impl Allowance {
    /// What counts for an application with these limits, and what for all such applications of its organization together.
    pub(crate) fn with_default(self, organization: Self, default: Self) -> (Self, Self) {
        fn split<N>(own: Option<N>, organization: Option<N>, default: Option<N>) -> (Option<N>, Option<N>) {
            match (own, organization) {
                (Some(own), _) => (Some(own), None),
                (None, Some(_)) => (default, None),
                (None, None) => (None, default),
            }
        }
        let per_second = split(self.per_second, organization.per_second, default.per_second);
        let per_day = split(self.per_day, organization.per_day, default.per_day);
        (Self { per_second: per_second.0, per_day: per_day.0 }, Self { per_second: per_second.1, per_day: per_day.1 })
    }

    fn is_unlimited(self) -> bool {
        self == Self::default()
    }
}

// === impl Senders ===

impl Senders {
    fn limited(&self) -> impl Iterator<Item = (Whose, Allowance)> {
        let all = [
            (Whose::Application, self.application_allowance),
            (Whose::Unlimited, self.shared_allowance),
            (Whose::Organization, self.organization_allowance),
        ];
        all.into_iter().filter(|(_, allowance)| !allowance.is_unlimited())
    }

    /// Those with a rate that lets anything pass.
    fn rated(&self) -> impl Iterator<Item = (Whose, u32)> {
        let rated = self.limited().filter_map(|(whose, allowance)| Some((whose, allowance.per_second?)));
        rated.filter(|(_, per_second)| *per_second > 0)
    }
}

// === impl SendLimits ===

impl SendLimits {
    /// Counts for one of so many replicas.
    pub(crate) fn new(replicas: u32) -> Self {
        let replicas = AtomicU32::new(replicas.max(1));
        Self { replicas, shards: Default::default(), application_keys: APPLICATION_KEYS }
    }

    /// So many replicas share the limits from now on.
    pub(crate) fn share(&self, replicas: u32) {
        self.replicas.store(replicas.max(1), Ordering::Relaxed);
    }

    fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// Counts an event, or says which limit it is beyond; then nothing is counted. `None`: there is no limit to count against.
    pub(crate) fn take(&self, senders: Senders, now_ms: i64) -> Result<Option<Counted>, Over> {
        if senders.limited().next().is_none() {
            return Ok(None);
        }
        let (day, replicas) = (now_ms.div_euclid(DAY_MS), self.replicas());
        let mut shard = self.shard(senders.organization).lock();
        let usages = shard.of(senders.organization, now_ms);
        usages.make_room(senders.application, self.application_keys, now_ms);
        // All are asked before any counts: what one refuses is not used up at the others.
        for (whose, allowance) in senders.limited() {
            let usage = usages.of(whose, senders.application, self.application_keys);
            usage.turn(day, allowance, replicas);
            usage.ask(whose, allowance, now_ms)?;
        }
        let mut days = [day; 3];
        for (whose, allowance) in senders.limited() {
            let usage = usages.of(whose, senders.application, self.application_keys);
            usage.count(allowance, replicas, now_ms);
            days[whose as usize] = usage.day();
        }
        Ok(Some(Counted { senders, days, replicas }))
    }

    /// Says whether an event would be beyond a rate, and counts nothing: asked before a body is read, so that who sends too fast
    /// costs no more than his heads. The day's quota is asked with the event, which may be a repeat and count against nothing.
    pub(crate) fn ask_rate(&self, senders: Senders, now_ms: i64) -> Result<(), Over> {
        if senders.limited().all(|(_, allowance)| allowance.per_second.is_none()) {
            return Ok(());
        }
        let shard = self.shard(senders.organization).lock();
        let usages = shard.organizations.get(&senders.organization);
        for (whose, allowance) in senders.limited() {
            let allowance = Allowance { per_day: None, ..allowance };
            // A rate that was changed is taken over with the next event that counts.
            let known = usages.and_then(|usages| usages.known(whose, senders.application));
            match known.filter(|usage| usage.rate() == allowance.per_second) {
                Some(usage) => usage.ask(whose, allowance, now_ms)?,
                None if allowance.per_second == Some(0) => {
                    return Err(Over::Rate { whose, per_second: 0, retry_after_s: SHUT_S });
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Says whether more was refused of these than may be, and counts nothing: asked before a body is read. Whose quota is spent is
    /// told that: what was refused was refused for it, and to come again in a second would be of no use.
    pub(crate) fn ask_refused(&self, senders: Senders, now_ms: i64) -> Result<(), Over> {
        if senders.rated().next().is_none() {
            return Ok(());
        }
        let shard = self.shard(senders.organization).lock();
        let Some(usages) = shard.organizations.get(&senders.organization) else { return Ok(()) };
        let known = |whose| usages.known(whose, senders.application);
        let mut refused = senders.rated().filter_map(|(whose, _)| Some((whose, known(whose)?)));
        let asked = refused.try_for_each(|(whose, usage)| usage.ask_refused(whose, now_ms));
        asked.map_err(|over| {
            let mut quotas = senders.limited().filter_map(|(whose, allowance)| Some((whose, allowance.per_day?)));
            let is_spent = |whose, per_day| known(whose).is_some_and(|usage| usage.is_spent(per_day, now_ms));
            let spent = quotas.find(|(whose, per_day)| is_spent(*whose, *per_day));
            spent.map_or(over, |(whose, per_day)| Over::Quota { whose, per_day })
        })
    }

    /// So many events were refused after their body was read.
    pub(crate) fn count_refused(&self, senders: Senders, count: u32, now_ms: i64) {
        if senders.rated().next().is_none() {
            return;
        }
        let mut shard = self.shard(senders.organization).lock();
        let usages = shard.of(senders.organization, now_ms);
        usages.make_room(senders.application, self.application_keys, now_ms);
        for (whose, rate) in senders.rated() {
            let usage = usages.of(whose, senders.application, self.application_keys);
            usage.count_refused(rate, count, self.replicas(), now_ms);
        }
    }

    /// The event was not accepted: it does not count against the day. Its place in the second is used up.
    pub(crate) fn give_back(&self, counted: Counted) {
        let Counted { senders, days, replicas } = counted;
        let mut shard = self.shard(senders.organization).lock();
        let Some(usages) = shard.organizations.get_mut(&senders.organization) else { return };
        for (whose, _allowance) in senders.limited() {
            let usage = usages.of(whose, senders.application, self.application_keys);
            usage.give_back(days[whose as usize], replicas);
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
    fn of(&mut self, organization: OrganizationId, now_ms: i64) -> &mut OrganizationUsage {
        if self.organizations.len() >= SHARD_ORGANIZATIONS
            && now_ms >= self.next_sweep_ms
            && !self.organizations.contains_key(&organization)
        {
            self.next_sweep_ms = now_ms.saturating_add(SWEEP_EVERY_MS);
            self.organizations.retain(|_, usages| usages.says_something(now_ms));
        }
        self.organizations.entry(organization).or_default()
    }
}

#[cfg(test)]
mod tests;
