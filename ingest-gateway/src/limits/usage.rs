//! What one organization and its applications have used. Pure.

use std::collections::HashMap;

use retry::TokenBucket;
use schemas::ids::ApplicationId;

use super::{Allowance, DAY_MS, Over, SHUT_S, SWEEP_EVERY_MS, Whose};

const SECOND_MS: i64 = 1_000;
/// More than this many in a second nobody counts one by one.
const MAX_RATE: f64 = 1_000_000.0;
/// What was refused beyond its rate is owed, up to what comes back in so many seconds.
const OWED_S: u32 = 10;

/// All that is counted for an organization.
#[derive(Debug, Default)]
pub(super) struct OrganizationUsage {
    own: Usage,
    /// Of applications without a limit.
    unlimited: Usage,
    applications: HashMap<ApplicationId, Usage>,
    /// Of applications for which there was no place.
    rest: Usage,
    next_sweep_ms: i64,
}

/// The rate a bucket was made for, and the bucket.
type RateBucket = Option<ShareOfRate>;

/// What one application, or all of an organization, has used.
#[derive(Debug)]
pub(super) struct Usage {
    /// Of what is accepted.
    bucket: RateBucket,
    /// Of what is refused: as much as may be accepted, and in no place of it. It may owe.
    refused: RateBucket,
    /// Days since 1970.
    day: i64,
    /// Events of that day, of all replicas as far as this one can tell: each of its own stands for one of every replica.
    used: u64,
}

/// This replica's part of a rate.
#[derive(Debug)]
struct ShareOfRate {
    per_second: u32,
    replicas: u32,
    /// So many tokens of the bucket are not there to be had: what was taken of them is owed.
    owed: u32,
    bucket: TokenBucket,
}

// === impl OrganizationUsage ===

impl OrganizationUsage {
    /// Where an event is counted. At most so many applications have a place of their own.
    pub(super) fn of(&mut self, whose: Whose, application: ApplicationId, keys: usize) -> &mut Usage {
        match whose {
            Whose::Organization => &mut self.own,
            Whose::Unlimited => &mut self.unlimited,
            Whose::Application if self.applications.len() < keys => self.applications.entry(application).or_default(),
            Whose::Application => self.applications.get_mut(&application).unwrap_or(&mut self.rest),
        }
    }

    /// What was counted up to now.
    pub(super) fn known(&self, whose: Whose, application: ApplicationId) -> Option<&Usage> {
        match whose {
            Whose::Organization => Some(&self.own),
            Whose::Unlimited => Some(&self.unlimited),
            Whose::Application => self.applications.get(&application),
        }
    }

    /// Forgets what says nothing, if there is no place for an application.
    pub(super) fn make_room(&mut self, application: ApplicationId, keys: usize, now_ms: i64) {
        let is_full = self.applications.len() >= keys && now_ms >= self.next_sweep_ms;
        if is_full && !self.applications.contains_key(&application) {
            self.next_sweep_ms = now_ms.saturating_add(SWEEP_EVERY_MS);
            self.applications.retain(|_, usage| usage.says_something(now_ms));
        }
    }

    pub(super) fn says_something(&self, now_ms: i64) -> bool {
        let together = [&self.own, &self.unlimited, &self.rest];
        together.into_iter().chain(self.applications.values()).any(|usage| usage.says_something(now_ms))
    }

    /// Applications with a place of their own.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.applications.len()
    }
}

// === impl Usage ===

impl Default for Usage {
    fn default() -> Self {
        Self { bucket: None, refused: None, day: i64::MIN, used: 0 }
    }
}

impl Usage {
    /// Turns to the day, the limits and the replicas of now; a changed rate keeps what is used up. A bucket that is not asked for stays: among
    /// those who share it some may have a rate and others not.
    pub(super) fn turn(&mut self, day: i64, allowance: Allowance, replicas: u32) {
        let day = self.counted_day(day);
        if self.day != day {
            self.day = day;
            self.used = 0;
        }
        if let Some(rate) = allowance.per_second {
            fit(&mut self.bucket, rate, replicas);
        }
    }

    /// The day that an event of `day` counts against. Around midnight events of both days come in any order, as each has its time
    /// from before it waited for anything: one of the day before begins no day anew. Further back only a clock was wrong, which
    /// must not keep the quota of a day to come.
    fn counted_day(&self, day: i64) -> i64 {
        if day.saturating_add(1) == self.day { self.day } else { day }
    }

    /// The day it counts for now.
    pub(super) fn day(&self) -> i64 {
        self.day
    }

    /// Counts what was refused, beyond what is left up to what may be owed: one request can have many events.
    pub(super) fn count_refused(&mut self, rate: u32, count: u32, replicas: u32, now_ms: i64) {
        fit_owing(&mut self.refused, rate, replicas, OWED_S);
        if let Some(share) = &mut self.refused {
            (0..count).take_while(|_| share.bucket.try_take(now_ms)).for_each(drop);
        }
    }

    /// Whether less was refused than may be.
    pub(super) fn ask_refused(&self, whose: Whose, now_ms: i64) -> Result<(), Over> {
        let Some(ShareOfRate { per_second, owed, bucket, .. }) = &self.refused else { return Ok(()) };
        match wait_s(bucket, *owed, now_ms) {
            None => Ok(()),
            Some(retry_after_s) => Err(Over::Refused { whose, per_second: *per_second, retry_after_s }),
        }
    }

    /// The rate its bucket was made for.
    pub(super) fn rate(&self) -> Option<u32> {
        self.bucket.as_ref().map(|share| share.per_second)
    }

    pub(super) fn ask(&self, whose: Whose, allowance: Allowance, now_ms: i64) -> Result<(), Over> {
        if let Some(per_day) = allowance.per_day
            && self.used >= per_day
        {
            return Err(Over::Quota { whose, per_day });
        }
        if allowance.per_second == Some(0) {
            return Err(Over::Rate { whose, per_second: 0, retry_after_s: SHUT_S });
        }
        let bucket = self.bucket.as_ref().filter(|_bucket| allowance.per_second.is_some());
        let Some(ShareOfRate { per_second, bucket, .. }) = bucket else { return Ok(()) };
        match wait_s(bucket, 0, now_ms) {
            None => Ok(()),
            Some(retry_after_s) => Err(Over::Rate { whose, per_second: *per_second, retry_after_s }),
        }
    }

    pub(super) fn count(&mut self, allowance: Allowance, replicas: u32, now_ms: i64) {
        self.used = self.used.saturating_add(u64::from(replicas));
        if let Some(share) = &mut self.bucket
            && allowance.per_second.is_some()
        {
            // It was asked under the same lock.
            share.bucket.try_take(now_ms);
        }
    }

    /// An event of that day was not accepted after all.
    pub(super) fn give_back(&mut self, day: i64, replicas: u32) {
        if self.day == day {
            self.used = self.used.saturating_sub(u64::from(replicas));
        }
    }

    /// Whether nothing is left of the day's quota.
    pub(super) fn is_spent(&self, per_day: u64, now_ms: i64) -> bool {
        self.day == self.counted_day(now_ms.div_euclid(DAY_MS)) && self.used >= per_day
    }

    /// It was used today, or its bucket is not full.
    fn says_something(&self, now_ms: i64) -> bool {
        let mut buckets = [&self.bucket, &self.refused].into_iter().flatten();
        let is_busy = buckets.any(|share| !share.bucket.is_full(now_ms));
        is_busy || (self.day == self.counted_day(now_ms.div_euclid(DAY_MS)) && self.used > 0)
    }
}

/// A bucket of this rate; a changed one keeps what is used up.
fn fit(slot: &mut RateBucket, per_second: u32, replicas: u32) {
    fit_owing(slot, per_second, replicas, 0);
}

/// The same, which may owe what comes back in so many seconds.
fn fit_owing(slot: &mut RateBucket, per_second: u32, replicas: u32, owed_s: u32) {
    if slot.as_ref().is_some_and(|share| (share.per_second, share.replicas) == (per_second, replicas)) {
        return;
    }
    let (rate, burst) = share_of_rate(per_second, replicas);
    let owed = per_second.saturating_mul(owed_s) / replicas;
    let capacity = burst.saturating_add(owed);
    let bucket = match slot.take() {
        Some(ShareOfRate { mut bucket, .. }) => bucket.set_rate(rate, capacity).map(|()| bucket),
        None => TokenBucket::new(rate, capacity),
    };
    *slot = bucket.ok().map(|bucket| ShareOfRate { per_second, replicas, owed, bucket });
}

/// In how many whole seconds there is something in it beside what may be owed, if there is nothing now.
fn wait_s(bucket: &TokenBucket, owed: u32, now_ms: i64) -> Option<u32> {
    let wait_ms = bucket.next_many_ms(owed.saturating_add(1), now_ms).saturating_sub(now_ms);
    let seconds = (wait_ms.saturating_add(SECOND_MS - 1) / SECOND_MS).max(1);
    (wait_ms > 0).then(|| u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// A replica's part of a rate, and how many may come at once: what the second allows, at least one.
fn share_of_rate(per_second: u32, replicas: u32) -> (f64, u32) {
    let share = (f64::from(per_second) / f64::from(replicas)).clamp(0.000_1, MAX_RATE);
    (share, per_second.div_ceil(replicas).max(1))
}
