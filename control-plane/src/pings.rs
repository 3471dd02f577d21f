//! How often a subscription may be pinged. The store writes a ping, as all else that a request does: in one transaction with the
//! audit's word of it.

use std::sync::Arc;

use parking_lot::Mutex;
use retry::Budget;
use schemas::ids::SubscriptionId;
use schemas::problem::{Code, ProblemId};

use crate::problem::Problem;

/// Pings of one subscription in the long run.
const PER_SECOND: f64 = 0.2;
/// Pings of one subscription at once.
const BURST: u32 = 5;
/// Subscriptions whose pings are counted at once.
const MAX_COUNTED: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pings {
    topic: Arc<str>,
    budget: Mutex<Budget<SubscriptionId>>,
}

// === impl Pings ===

impl Pings {
    /// They are written to this topic.
    pub(crate) fn new(topic: Arc<str>) -> Self {
        let budget = Budget::new(PER_SECOND, BURST, MAX_COUNTED).expect("a rate and a burst within the limits");
        Self { topic, budget: Mutex::new(budget) }
    }

    /// The topic they are written to.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Takes one of the subscription's pings.
    pub(crate) fn permit(&self, subscription: SubscriptionId, now_ms: i64) -> Result<(), Problem> {
        let mut budget = self.budget.lock();
        if budget.try_take(&subscription, now_ms) {
            return Ok(());
        }
        let wait_s = (budget.next_ms(&subscription, now_ms) - now_ms + 999) / 1_000;
        let detail = format!("a subscription takes {BURST} pings at once and then one in 5 s");
        let wait_s = u32::try_from(wait_s.max(1)).unwrap_or(u32::MAX);
        Err(Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached).with_retry_after(wait_s))
    }
}
