//! What a subscription limits: requests in flight and per second, as its endpoint saw them.

use std::collections::BTreeMap;

use schemas::ids::SubscriptionId;
use schemas::invariants::Invariant;

use super::{Violation, broken};
use crate::ledger::books::{Books, Overlap, Request};
use crate::ledger::plan::Plan;

/// What the endpoint and the worker may think differently of when a request came or was over: the endpoint's thread and the
/// worker share two busy cores. Also the clock skew that every invariant about time allows.
const SKEW_MS: i64 = 1_000;
/// Seconds of its rate that a lane may save up, or one request.
const BURST_S: f64 = 0.02;

/// 7: requests in flight stay within the subscription's cap, at every moment at which no second owner's may overlap.
pub(super) fn lane_caps(books: &Books, _plan: &Plan<'_>) -> Vec<Violation> {
    let found = lanes(books).into_iter().filter_map(|(id, (requests, cap, _))| {
        let most = most_in_flight(&requests, &books.overlaps);
        (most > cap).then(|| format!("{id} had {most} requests in flight, its cap is {cap}"))
    });
    found.map(|what| broken(Invariant::LaneCap, what)).collect()
}

/// 7: requests per second stay within the subscription's rate, over every span between two requests.
pub(super) fn lane_rates(books: &Books, _plan: &Plan<'_>) -> Vec<Violation> {
    let found = lanes(books).into_iter().filter_map(|(id, (requests, _, rate))| {
        let rate = rate?;
        let excess = most_over(&requests, rate, &books.overlaps);
        (excess > 0.0).then(|| format!("{id} had {excess:.1} requests more than {rate} per second allow"))
    });
    found.map(|what| broken(Invariant::LaneCap, what)).collect()
}

type Lane<'a> = (Vec<&'a Request>, usize, Option<f64>);

fn lanes(books: &Books) -> BTreeMap<SubscriptionId, Lane<'_>> {
    let lane = |subscription: &super::super::books::Subscribed| {
        let requests = books.requests.iter().filter(|request| subscription.is_at(&request.path)).collect();
        (subscription.id, (requests, subscription.concurrency, subscription.per_second))
    };
    books.subscriptions.iter().map(lane).collect()
}

/// Requests that were surely under way at once, at the worst moment that lies in no overlap.
fn most_in_flight(requests: &[&Request], overlaps: &[Overlap]) -> usize {
    // An answer frees its place at the same millisecond: what cannot be told apart is no violation.
    let mut edges: Vec<(i64, bool)> = Vec::new();
    for request in requests {
        let over_ms = match (request.answered, request.ended_ms) {
            (Some((_, answered_ms)), _) => answered_ms,
            // The worker gave it up before that, and the endpoint learns it when it reads its connection.
            (None, Some(ended_ms)) => ended_ms - SKEW_MS,
            (None, None) => i64::MAX,
        };
        if over_ms > request.arrived_ms {
            edges.push((request.arrived_ms, true));
            edges.push((over_ms, false));
        }
    }
    edges.sort_unstable();
    let (mut now, mut most) = (0_usize, 0);
    for (at_ms, begins) in edges {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        if !overlaps.iter().any(|overlap| overlap.holds(at_ms)) {
            most = most.max(now);
        }
    }
    most
}

/// By how many requests the worst span between two of them exceeds its rate, its burst and the skew; not above 0: it does not.
fn most_over(requests: &[&Request], per_second: f64, overlaps: &[Overlap]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one run, and requests of a test")]
    let due = |ms: i64| ms as f64 * per_second / 1_000.0;
    let allowed = (per_second * BURST_S).max(1.0) + due(SKEW_MS);
    let mut arrived: Vec<i64> = requests.iter().map(|request| request.arrived_ms).collect();
    arrived.sort_unstable();
    let first_ms = arrived.first().copied().unwrap_or(0);
    // Each request against its rate since the first one; the worst span begins where that stood lowest.
    let (mut most, mut balance, mut lowest, mut before_ms) = (f64::NEG_INFINITY, 0.0_f64, 0.0_f64, first_ms);
    for at_ms in arrived {
        balance -= due(at_ms - before_ms);
        let is_new_owner = overlaps.iter().any(|overlap| before_ms <= overlap.until_ms && overlap.from_ms <= at_ms);
        lowest = if is_new_owner { balance } else { lowest.min(balance) };
        balance += 1.0;
        before_ms = at_ms;
        most = most.max(balance - lowest - allowed);
    }
    most
}
