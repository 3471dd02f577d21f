//! The invariants, each its own function over plain data. None of them knows a test, a topic or a clock.

mod lanes;
mod timing;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemas::attempt::Kind;
use schemas::ids::DeliveryId;
use schemas::invariants::Invariant;

use self::lanes::{lane_caps, lane_rates};
use self::timing::{never_early, nothing_after_its_outcome};
use self::writes::few_tier_writes;
use super::books::{Books, Fact, Place, Request};
use super::plan::Plan;
use crate::endpoint::seen::Signature;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which promise it breaks; `None`: one the test made.
    pub invariant: Option<Invariant>,
    /// What was found.
    pub what: String,
}

/// One check.
pub(crate) type Check = fn(&Books, &Plan<'_>) -> Vec<Violation>;

/// All of them.
pub(crate) const CHECKS: [Check; 12] = [
    accepted_is_kept,
    every_event_has_one_fate,
    one_terminal_state,
    ends_are_true,
    only_accepted,
    fans_out_once,
    pure_delivery_ids,
    never_early,
    same_bytes,
    bounded_memory,
    targets_are_told,
    few_tier_writes,
];

/// Those that a worker that died or froze may seem to break: only for runs in which none did, or of which it is known when.
pub(crate) const OWNED: [Check; 3] = [lane_caps, lane_rates, nothing_after_its_outcome];

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.invariant {
            Some(invariant) => write!(f, "invariant {} ({}): {}", invariant.number(), invariant.text(), self.what),
            None => write!(f, "expected otherwise: {}", self.what),
        }
    }
}

fn broken(invariant: Invariant, what: impl Into<String>) -> Violation {
    Violation { invariant: Some(invariant), what: what.into() }
}

/// 10: what a sender was told to be accepted stands on the topic, byte for byte; every record of ours can be read.
fn accepted_is_kept(books: &Books, _plan: &Plan<'_>) -> Vec<Violation> {
    let contents = books.events.iter().filter_map(|event| event.content.as_ref());
    let kept: BTreeSet<_> = contents.map(|content| (&content.identity, content.payload)).collect();
    let lost = books.told.iter().filter(|told| !kept.contains(&(&told.identity, told.payload)));
    let lost = lost.map(|told| format!("event {} was acknowledged and is not on the topic", told.identity.id));
    let unreadable = books.unreadable.iter().cloned();
    lost.chain(unreadable).map(|what| broken(Invariant::NeverLost, what)).collect()
}

/// 1, 10: of every event there is exactly one record that says what became of it, and of every rejected one the rejected
/// record.
fn every_event_has_one_fate(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for event in &books.events {
        let fates = plan.fates.get(&event.place).map_or(&[][..], Vec::as_slice);
        match fates {
            [_] => {}
            [] => found
                .push(broken(Invariant::OneTerminalState, format!("nothing is known of the event at {}", event.place))),
            many => {
                let kinds: Vec<_> = many.iter().map(|fact| fact.kind.as_str()).collect();
                let what = format!("the event at {} has {} fates: {}", event.place, many.len(), kinds.join(", "));
                found.push(broken(Invariant::FansOutOnce, what));
            }
        }
    }
    let mut kept: BTreeMap<&Place, usize> = BTreeMap::new();
    for place in books.rejected.iter().filter_map(|rejected| rejected.place.as_ref()) {
        *kept.entry(place).or_default() += 1;
    }
    for (place, count) in fates_of(books, Kind::Rejected) {
        let records = kept.remove(place).unwrap_or(0);
        if records != count {
            let what = format!("{place} is said {count} times to be rejected and stands {records} times in `rejected`");
            found.push(broken(Invariant::NeverLost, what));
        }
    }
    let silent = kept.keys().map(|place| format!("{place} stands in `rejected` and nothing says so"));
    found.extend(silent.map(|what| broken(Invariant::NeverLost, what)));
    found
}

fn fates_of(books: &Books, kind: Kind) -> BTreeMap<&Place, usize> {
    let mut places = BTreeMap::new();
    for place in books.facts.iter().filter(|fact| fact.kind == kind).filter_map(|fact| fact.place.as_ref()) {
        *places.entry(place).or_default() += 1;
    }
    places
}

/// 1: what must be delivered was written once to `deliveries` and ended once; what may be delivered and was written, too.
fn one_terminal_state(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (id, due) in &plan.due {
        let written = plan.first_hops.get(id).copied().unwrap_or(0);
        let ends = plan.ends.get(id).map_or(0, Vec::len);
        let lost = due.required && written == 0;
        // What is still on its way is counted, and the test says how much of that it expects.
        if lost || ends > 1 || (written == 0 && ends > 0) {
            let what = format!(
                "delivery {id} of event {} at {} to subscription {} was written {written} times and ended {ends} times",
                due.content.identity.id, due.event.place, due.subscription.id
            );
            found.push(broken(Invariant::OneTerminalState, what));
        }
    }
    let mut written: BTreeMap<&Place, u32> = BTreeMap::new();
    // What a backfill made was matched by nobody when its event came.
    let late: BTreeSet<DeliveryId> =
        books.hops.iter().filter(|hop| hop.is_backfilled).map(|hop| hop.delivery).collect();
    for id in plan.first_hops.keys().filter(|id| !late.contains(id)) {
        if let Some(due) = plan.due.get(id).filter(|due| due.is_first(*id)) {
            *written.entry(&due.event.place).or_default() += 1;
        }
    }
    for fact in books.facts.iter().filter(|fact| fact.kind == Kind::Matched) {
        let Some(place) = &fact.place else { continue };
        let deliveries = written.get(place).copied().unwrap_or(0);
        if fact.matched != Some(deliveries) {
            let what =
                format!("{place} is said to match {:?} subscriptions and made {deliveries} deliveries", fact.matched);
            found.push(broken(Invariant::OneTerminalState, what));
        }
    }
    found
}

/// 1, 6: "delivered" means that the endpoint has answered that attempt with a 2xx; a dead letter stands in its topic.
fn ends_are_true(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let succeeded: BTreeSet<(DeliveryId, u32)> =
        books.requests.iter().filter(|request| request.succeeded()).filter_map(Request::key).collect();
    let mut letters: BTreeMap<DeliveryId, Vec<u32>> = BTreeMap::new();
    for dead in &books.dead {
        letters.entry(dead.delivery).or_default().push(dead.attempts);
    }
    let mut found = Vec::new();
    for (id, fact) in plan.ends.iter().flat_map(|(id, facts)| facts.iter().map(move |fact| (id, fact))) {
        let attempt = fact.attempt.unwrap_or(0);
        if fact.kind == Kind::Delivered && !succeeded.contains(&(*id, attempt)) {
            let what = format!(
                "delivery {id} is said to be delivered by attempt {attempt}, which no endpoint answered with 2xx"
            );
            found.push(broken(Invariant::OneTerminalState, what));
        }
        if fact.kind == Kind::DeadLettered && letters.remove(id).is_none_or(|letters| letters.len() != 1) {
            found.push(broken(
                Invariant::OneTerminalState,
                format!("{id} is said to be dead and has not one dead letter"),
            ));
        }
    }
    let silent = letters.keys().map(|id| format!("delivery {id} has a dead letter and nothing says so"));
    found.extend(silent.map(|what| broken(Invariant::OneTerminalState, what)));
    found
}

/// 2: whatever arrives or stands in `deliveries` follows from an accepted event and a subscription that fits.
fn only_accepted(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let arrived = books.requests.iter().filter(|request| request.delivery.is_none_or(|id| !plan.due.contains_key(&id)));
    let arrived = arrived.map(|request| {
        format!(
            "event {:?} arrived at {} as delivery {:?}, which is nobody's",
            request.event, request.path, request.delivery
        )
    });
    let written = books.hops.iter().filter(|hop| !plan.due.contains_key(&hop.delivery));
    let written = written.map(|hop| format!("delivery {} of event {} is nobody's", hop.delivery, hop.identity.id));
    let elsewhere = books.requests.iter().filter(|request| {
        request.delivery.and_then(|id| plan.due.get(&id)).is_some_and(|due| !due.subscription.is_at(&request.path))
    });
    let elsewhere = elsewhere.map(|request| format!("delivery {:?} arrived at {}", request.delivery, request.path));
    arrived.chain(written).chain(elsewhere).map(|what| broken(Invariant::OnlyAccepted, what)).collect()
}

/// 3: one identity on one partition is matched once, and each of its deliveries is written once.
fn fans_out_once(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let mut matched: BTreeMap<_, usize> = BTreeMap::new();
    for event in &books.events {
        let Some(content) = event.content.as_ref().filter(|content| !content.positional) else { continue };
        let fates = plan.fates.get(&event.place).map_or(&[][..], Vec::as_slice);
        let times = fates.iter().filter(|fact| fact.kind == Kind::Matched).count();
        *matched.entry((event.place.partition, &content.identity)).or_default() += times;
    }
    let matched = matched.into_iter().filter(|(_, times)| *times > 1);
    let matched = matched.map(|((_, identity), times)| format!("event {} was matched {times} times", identity.id));
    let written = plan.first_hops.iter().filter(|(_, times)| **times > 1);
    let written = written.map(|(id, times)| format!("delivery {id} was written {times} times"));
    matched.chain(written).map(|what| broken(Invariant::FansOutOnce, what)).collect()
}

/// 4: the id follows from event, subscription and generation: on every hop, at the endpoint, and in all that is told of it.
fn pure_delivery_ids(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let wrong =
        books.hops.iter().filter(|hop| hop.identity.delivery_id(hop.subscription, hop.generation) != hop.delivery);
    let wrong = wrong
        .map(|hop| format!("{} is not the id of event {} for {}", hop.delivery, hop.identity.id, hop.subscription));
    let strange = books.requests.iter().filter_map(|request| {
        let due = plan.due.get(&request.delivery?)?;
        let expected = due.content.identity.webhook_id();
        (request.webhook.as_deref() != Some(expected.as_str()))
            .then(|| format!("{:?} arrived with webhook-id {:?}, not {expected}", request.delivery, request.webhook))
    });
    let told = books.facts.iter().filter_map(|fact| Some((fact.kind.as_str(), fact.delivery?)));
    let told = told.chain(books.dead.iter().map(|dead| ("dead letter", dead.delivery)));
    let foreign = told.filter(|(_, id)| !plan.due.contains_key(id));
    let foreign = foreign.map(|(kind, id)| format!("{kind} is told of delivery {id}, which no event has"));
    wrong.chain(strange).chain(foreign).map(|what| broken(Invariant::PureDeliveryId, what)).collect()
}

/// 8: the bytes that arrived are those that were accepted, on every hop, and the signatures verify over them.
fn same_bytes(books: &Books, plan: &Plan<'_>) -> Vec<Violation> {
    let expected = |id: &DeliveryId| plan.due.get(id).map(|due| due.content.payload);
    let hops = books.hops.iter().filter(|hop| expected(&hop.delivery).is_some_and(|payload| payload != hop.payload));
    let hops = hops.map(|hop| format!("the payload of {} was changed on its way", hop.delivery));
    let bodies = books.requests.iter().filter_map(|request| {
        let id = request.delivery?;
        let payload = expected(&id)?;
        (payload != request.body).then(|| format!("the body of {id} is not what was accepted"))
    });
    let signatures = books.requests.iter().filter(|request| {
        !matches!(request.signature, Signature::Unchecked | Signature::Valid { standard: true, hook0: true })
    });
    let signatures = signatures.map(|request| format!("{:?} arrived with {:?}", request.delivery, request.signature));
    hops.chain(bodies).chain(signatures).map(|what| broken(Invariant::SameBytes, what)).collect()
}

/// 9: no process has held more than its configuration allows.
fn bounded_memory(books: &Books, _plan: &Plan<'_>) -> Vec<Violation> {
    let over = books.memory.iter().filter(|measure| measure.most > measure.limit);
    over.map(|measure| broken(Invariant::BoundedMemory, measure.to_string())).collect()
}

/// 10: what an attempt was made with stands on the topic, too: its request can be shown as it was.
fn targets_are_told(books: &Books, _plan: &Plan<'_>) -> Vec<Violation> {
    let named = |fact: &Fact| Some((fact.subscription?, fact.target?));
    let (told, attempts): (Vec<_>, Vec<_>) = books.facts.iter().partition(|fact| fact.kind == Kind::Target);
    let told: BTreeSet<_> = told.into_iter().filter_map(named).collect();
    let used: BTreeSet<_> = attempts.into_iter().filter_map(named).collect();
    let untold = used.difference(&told).map(|(subscription, offset)| {
        format!("an attempt used subscription {subscription} as it stood at {offset}, and nothing tells how that was")
    });
    untold.map(|what| broken(Invariant::NeverLost, what)).collect()
}

/// 6: attempts that arrived more than once, counted beyond the first.
pub(crate) fn repeats(books: &Books) -> usize {
    let mut times: BTreeMap<(DeliveryId, u32), usize> = BTreeMap::new();
    for key in books.requests.iter().filter_map(Request::key) {
        *times.entry(key).or_default() += 1;
    }
    times.values().map(|times| times - 1).sum()
}

impl Request {
    /// Delivery and attempt.
    pub(crate) fn key(&self) -> Option<(DeliveryId, u32)> {
        Some((self.delivery?, self.attempt?))
    }
}
