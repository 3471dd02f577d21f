//! How often a payload is written while it waits for its retry.

use std::collections::BTreeMap;

use super::Violation;
use crate::ledger::books::{Books, TierWrite};
use crate::ledger::plan::Plan;

/// A retry is written to delay topics at most `n + 1` times, `n` being how often the longest tier that fits its wait does. Waiting for
/// a lane writes none: what a delivery is for a lane has no due time of its own.
pub(super) fn few_tier_writes(books: &Books, _plan: &Plan<'_>) -> Vec<Violation> {
    let mut retries: BTreeMap<_, Vec<&TierWrite>> = BTreeMap::new();
    for write in &books.tier_writes {
        retries.entry((write.delivery, write.hop.attempt, write.hop.due_ms)).or_default().push(write);
    }
    let many = retries.into_iter().filter_map(|((delivery, attempt, due_ms), writes)| {
        let first_ms = writes.iter().map(|write| write.written_ms).min()?;
        let (count, most) = (writes.len(), most_writes(due_ms - first_ms, &books.tiers_ms));
        (count > most).then(|| {
            let wait_ms = due_ms - first_ms;
            format!("attempt {attempt} of {delivery} waited {wait_ms} ms and was written {count} times to delay topics, {most} at most")
        })
    });
    many.map(|what| Violation { invariant: None, what }).collect()
}

/// What fits no tier is in the shortest one until it is due.
fn most_writes(wait_ms: i64, tiers_ms: &[i64]) -> usize {
    let longest = tiers_ms.iter().copied().filter(|tier_ms| *tier_ms > 0 && *tier_ms <= wait_ms).max();
    longest.map_or(1, |tier_ms| usize::try_from(wait_ms / tier_ms).unwrap_or(usize::MAX).saturating_add(1))
}
