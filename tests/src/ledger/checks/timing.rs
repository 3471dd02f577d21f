//! When things happened: due times, the order of attempts, and nothing after the end.

use std::collections::{BTreeMap, BTreeSet};

use schemas::attempt::Kind;
use schemas::ids::DeliveryId;
use schemas::invariants::Invariant;

use super::{Violation, broken};
use crate::ledger::books::{Books, Fact};
use crate::ledger::plan::Plan;

/// 5: no request before its due time; no hop twice; attempts are counted without gaps and each is told once.
pub(super) fn never_early(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let mut due: BTreeMap<(DeliveryId, u32), (i64, i64)> = BTreeMap::new();
    let mut hops: BTreeMap<_, usize> = BTreeMap::new();
    for hop in &books.hops {
        let due_ms = hop.hop.due_ms;
        let (earliest, latest) = due.entry((hop.delivery, hop.hop.attempt)).or_insert((due_ms, due_ms));
        (*earliest, *latest) = (due_ms.min(*earliest), due_ms.max(*latest));
        let parks = (hop.hop.parks.count, hop.hop.parks.since_ms);
        *hops.entry((hop.delivery, hop.hop.attempt, hop.hop.due_ms, parks)).or_default() += 1;
    }
    let early = books.requests.iter().filter_map(|request| {
        let (due_ms, _) = *due.get(&request.key()?)?;
        let early_ms = due_ms - request.arrived_ms;
        (early_ms > 0)
            .then(|| format!("attempt {:?} of {:?} came {early_ms} ms early", request.attempt, request.delivery))
    });
    let twice = hops.iter().filter(|(_, times)| **times > 1);
    let twice =
        twice.map(|((id, attempt, ..), times)| format!("attempt {attempt} of {id} came {times} times to `deliveries`"));
    let stories = stories(books, plan);
    let parked = parked_early(books, &due).into_iter().chain(told_early(books, &due));
    early.chain(twice).chain(stories).chain(parked).map(|what| broken(Invariant::NeverEarly, what)).collect()
}

/// What was parked has a later due time for the same attempt: the request that made its outcome came after that. (One before
/// it may have come from an owner that died before its commit.)
fn parked_early(books: &Books, due: &BTreeMap<(DeliveryId, u32), (i64, i64)>) -> Vec<String> {
    let outcomes = books.facts.iter().filter(|fact| matches!(fact.kind, Kind::Attempted | Kind::Delivered));
    let outcomes: BTreeSet<_> = outcomes.filter_map(|fact| Some((fact.delivery?, fact.attempt?))).collect();
    let mut last: BTreeMap<(DeliveryId, u32), i64> = BTreeMap::new();
    for (key, request) in books.requests.iter().filter_map(|request| Some((request.key()?, request))) {
        let latest = last.entry(key).or_insert(request.arrived_ms);
        *latest = request.arrived_ms.max(*latest);
    }
    let early = last.into_iter().filter_map(|(key, arrived_ms)| {
        let early_ms = due.get(&key)?.1 - arrived_ms;
        (early_ms > 0 && outcomes.contains(&key) && !books.hurried.contains(&key.0))
            .then(|| format!("attempt {} of {} was parked and came {early_ms} ms early", key.1, key.0))
    });
    early.collect()
}

/// The due time of an attempt is the one that was told with the failure before it, unless somebody wanted it sooner.
fn told_early(books: &Books, due: &BTreeMap<(DeliveryId, u32), (i64, i64)>) -> Vec<String> {
    let failed = books.facts.iter().filter(|fact| fact.kind == Kind::Attempted);
    let early = failed.filter_map(|fact| {
        let key = (fact.delivery?, fact.attempt? + 1);
        let (told_ms, (due_ms, _)) = (fact.due_ms?, *due.get(&key)?);
        (due_ms < told_ms && !books.hurried.contains(&key.0))
            .then(|| format!("attempt {} of {} is due {due_ms}, and was told to be due {told_ms}", key.1, key.0))
    });
    early.collect()
}

/// 6: what is committed is over. Whoever commits an outcome has it from the last request of that attempt; who comes later
/// finds it committed. Only what a frozen worker had begun may arrive afterwards.
pub(super) fn nothing_after_its_outcome(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let failed = books.facts.iter().filter(|fact| fact.kind == Kind::Attempted);
    let failed: BTreeMap<_, i64> =
        failed.filter_map(|fact| Some(((fact.delivery?, fact.attempt?), fact.written_ms))).collect();
    let ended = |id: &DeliveryId| plan.ends.get(id)?.iter().map(|end| end.written_ms).max();
    let late = books.requests.iter().filter_map(|request| {
        let key = request.key()?;
        let over_ms = [failed.get(&key).copied(), ended(&key.0)].into_iter().flatten().min()?;
        let late_ms = request.arrived_ms - over_ms;
        let begun = books.overlaps.iter().any(|overlap| overlap.frozen && overlap.holds(request.arrived_ms));
        (late_ms > 0 && !begun)
            .then(|| format!("attempt {} of {} came {late_ms} ms after its outcome was written", key.1, key.0))
    });
    late.map(|what| broken(Invariant::CommitBelowUnresolved, what)).collect()
}

/// What `attempts` tells of each delivery: 1, 2, ... each once, then the end.
fn stories(books: &Books, plan: &Plan<'_>) -> Vec<String> {
    let mut failed: BTreeMap<DeliveryId, Vec<u32>> = BTreeMap::new();
    for fact in books.facts.iter().filter(|fact| fact.kind == Kind::Attempted) {
        if let (Some(id), Some(attempt)) = (fact.delivery, fact.attempt) {
            failed.entry(id).or_default().push(attempt);
        }
    }
    let tells = |id: &DeliveryId, mut attempts: Vec<u32>| {
        attempts.sort_unstable();
        let end: Option<&Fact> = plan.ends.get(id).and_then(|ends| ends.first().copied());
        let by_attempt = end.filter(|end| end.kind == Kind::Delivered).and_then(|end| end.attempt);
        let last =
            by_attempt.map_or_else(|| attempts.len(), |attempt| usize::try_from(attempt - 1).unwrap_or(usize::MAX));
        let gapless = attempts.iter().zip(1..).all(|(attempt, expected)| *attempt == expected);
        (!gapless || attempts.len() != last)
            .then(|| format!("the failed attempts of {id} are told as {attempts:?}, its end as attempt {by_attempt:?}"))
    };
    let without =
        plan.ends.keys().filter(|id| !failed.contains_key(*id)).map(|id| (*id, Vec::new())).collect::<Vec<_>>();
    failed.into_iter().chain(without).filter_map(|(id, attempts)| tells(&id, attempts)).collect()
}
