//! How often one may ask: each token, each organization with all of its tokens, and each address that shows unknown tokens.
//! The admin key is not counted. Pure: `now` is an argument.
//!
//! Each replica counts for itself and asks nobody. What is refused here has cost no look at Kafka and no place in the line of
//! writes.

use std::net::IpAddr;

use chassis::config::ControlRates;
use parking_lot::Mutex;
use retry::{Budget, RetryError};
use schemas::ids::OrganizationId;
use schemas::problem::ProblemId;
use uuid::Uuid;

use crate::problem::Problem;

/// Seconds' worth that may pass at once.
const BURST: u32 = 10;
/// An organization may ask so many times as often as one token.
const ORGANIZATION: u32 = 4;
/// Tokens, organizations and addresses that are counted at once.
const KEYS: usize = 65_536;

/// The counts of this replica.
#[derive(Debug)]
pub(crate) struct Rates {
    reads: Option<Paced>,
    writes: Option<Paced>,
    unknown: Option<Mutex<Budget<Option<IpAddr>>>>,
}

/// One kind of request.
#[derive(Debug)]
struct Paced {
    tokens: Mutex<Budget<Uuid>>,
    organizations: Mutex<Budget<OrganizationId>>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// The object of its token.
    pub(crate) token: Uuid,
    /// Whose token it is, if that is there.
    pub(crate) organization: Option<OrganizationId>,
}

// === impl Rates ===

impl Rates {
    /// # Errors
    /// A rate that cannot be counted; the configuration has no such one.
    pub(crate) fn new(rates: ControlRates) -> Result<Self, RetryError> {
        Ok(Self {
            reads: rates.reads.map(Paced::new).transpose()?,
            writes: rates.writes.map(Paced::new).transpose()?,
            unknown: rates.unknown.map(budget).transpose()?.map(Mutex::new),
        })
    }

    /// Counts so many requests of a known token, or refuses them all. More than its share of a burst is taken for a whole one.
    pub(crate) fn known(&self, asker: Asker, writes: bool, count: u32, now_ms: i64) -> Result<(), Problem> {
        let Some(paced) = (if writes { &self.writes } else { &self.reads }) else { return Ok(()) };
        let what = if writes { "writes" } else { "reads" };
        take(&paced.tokens, &asker.token, count, now_ms)
            .map_err(|seconds| refused(format!("this token asks too often for its share of {what}"), seconds))?;
        let Some(organization) = asker.organization else { return Ok(()) };
        take(&paced.organizations, &organization, count, now_ms).map_err(|seconds| {
            refused(format!("the tokens of this organization ask too often for its share of {what}"), seconds)
        })
    }

    /// Counts a token that this replica does not know, or refuses to look for it.
    pub(crate) fn unknown(&self, address: Option<IpAddr>, now_ms: i64) -> Result<(), Problem> {
        let Some(unknown) = &self.unknown else { return Ok(()) };
        let refused = |seconds| refused("too many unknown tokens came from this address".to_owned(), seconds);
        take(unknown, &address.map(chassis::server::network), 1, now_ms).map_err(refused)
    }
}

// === impl Paced ===

impl Paced {
    fn new(per_second: u32) -> Result<Self, RetryError> {
        Ok(Self {
            tokens: Mutex::new(budget(per_second)?),
            organizations: Mutex::new(budget(per_second.saturating_mul(ORGANIZATION).min(1_000_000))?),
        })
    }
}

fn budget<K: Eq + std::hash::Hash + Clone>(per_second: u32) -> Result<Budget<K>, RetryError> {
    Budget::new(f64::from(per_second), per_second.saturating_mul(BURST), KEYS)
}

/// Takes so many, or says after how many seconds there are so many again.
fn take<K: Eq + std::hash::Hash + Clone>(
    budget: &Mutex<Budget<K>>,
    key: &K,
    count: u32,
    now_ms: i64,
) -> Result<(), u32> {
    let mut budget = budget.lock();
    if budget.try_take_many(key, count, now_ms) {
        return Ok(());
    }
    let wait_ms = budget.next_many_ms(key, count, now_ms).saturating_sub(now_ms).max(1);
    Err(u32::try_from(wait_ms.saturating_add(999) / 1_000).unwrap_or(u32::MAX))
}

fn refused(detail: String, seconds: u32) -> Problem {
    Problem::new(ProblemId::RateLimited, detail).with_retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(writes: u32) -> Rates {
        Rates::new(ControlRates { reads: None, writes: Some(writes), unknown: Some(10) }).unwrap()
    }

    fn asker(token: u128, organization: u128) -> Asker {
        Asker { token: Uuid::from_u128(token), organization: Some(OrganizationId(Uuid::from_u128(organization))) }
    }

    /// How many pass at one moment.
    fn passing(rates: &Rates, asker: Asker, now_ms: i64) -> usize {
        (0..10_000).take_while(|_| rates.known(asker, true, 1, now_ms).is_ok()).count()
    }

    #[test]
    fn a_token_that_asks_too_often_is_told_when_to_come_back_and_takes_nothing_of_others() {
        let rates = rates(2);
        assert_eq!(passing(&rates, asker(1, 1), 0), 20);
        let problem = rates.known(asker(1, 1), true, 1, 0).unwrap_err();
        assert_eq!((problem.status, problem.id, problem.retry_after_s), (429, "RateLimited", Some(1)));
        assert!(rates.known(asker(2, 2), true, 1, 0).is_ok());
        assert!(rates.known(asker(1, 1), false, 1, 0).is_ok(), "reads are counted for themselves, here not at all");
        assert_eq!(passing(&rates, asker(1, 1), 1_000), 2);
    }

    #[test]
    fn an_organization_gets_no_more_by_making_more_tokens() {
        let rates = rates(1);
        let all: usize = (1..=9).map(|token| passing(&rates, asker(token, 1), 0)).sum();
        assert_eq!(all, 40);
        assert_eq!(passing(&rates, asker(10, 2), 0), 10);
    }

    #[test]
    fn many_at_once_cost_as_many_and_more_than_a_burst_costs_a_whole_one() {
        let rates = rates(2);
        assert!(rates.known(asker(1, 1), true, 15, 0).is_ok());
        let problem = rates.known(asker(1, 1), true, 15, 0).unwrap_err();
        assert_eq!(problem.retry_after_s, Some(5), "ten of fifteen are missing");
        assert_eq!(passing(&rates, asker(1, 1), 0), 5, "what was refused has cost nothing");
        assert!(rates.known(asker(2, 2), true, 1_000, 0).is_ok());
        assert_eq!(passing(&rates, asker(2, 2), 0), 0);
    }

    #[test]
    fn unknown_tokens_cost_their_address() {
        let rates = rates(1);
        let from = |text: &str| rates.unknown(Some(text.parse().unwrap()), 0);
        let passed = (0..1_000).take_while(|_| from("192.0.2.1").is_ok()).count();
        assert_eq!(passed, 100);
        assert!(from("192.0.2.2").is_ok());
        while from("2001:db8::1").is_ok() {}
        assert!(from("2001:db8::2").is_err(), "a network of IPv6 is one address");
        assert!(rates.unknown(None, 0).is_ok());
    }
}
