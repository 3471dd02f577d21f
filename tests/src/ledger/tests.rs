//! Every check on made-up books: silent on good ones, red when one thing is wrong.

mod limits;

use schemas::attempt::Kind;
use schemas::delivery::{Hop, Wait};
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::identity::{EventIdentity, gateway_source};
use schemas::ids::{ApplicationId, DeliveryId, Generation, SubscriptionId};
use schemas::invariants::Invariant;
use uuid::Uuid;

use super::books::{Books, Content, Dead, Event, Fact, Hopped, Place, Rejected, Request, Subscribed, Told};
use super::{Expect, audit};
use crate::endpoint::Signature;

const APPLICATION: ApplicationId = ApplicationId(Uuid::from_u128(1));
const SUBSCRIPTION: SubscriptionId = SubscriptionId(Uuid::from_u128(2));

fn identity(id: &str) -> EventIdentity {
    EventIdentity { application: APPLICATION, source: gateway_source(APPLICATION), id: id.into() }
}

fn place(offset: i64) -> Place {
    Place { topic: "events".into(), partition: 0, offset }
}

fn delivery(id: &str) -> DeliveryId {
    identity(id).delivery_id(SUBSCRIPTION, Generation::default())
}

fn event(offset: i64, id: &str) -> Event {
    let content = Content {
        identity: identity(id),
        positional: false,
        event_type: "invoice.paid".into(),
        labels: StringMap::new(),
        payload: 7,
    };
    Event { place: place(offset), written_ms: 100 + offset, content: Some(content) }
}

fn fact(kind: Kind, offset: i64) -> Fact {
    Fact {
        kind,
        place: Some(place(offset)),
        subscription: None,
        delivery: None,
        attempt: None,
        target: None,
        due_ms: None,
        status: None,
        matched: (kind == Kind::Matched).then_some(1),
        reason: None,
        at_ms: 0,
        written_ms: i64::MAX,
        error: None,
    }
}

fn of_delivery(kind: Kind, id: &str, attempt: u32) -> Fact {
    Fact { delivery: Some(delivery(id)), attempt: Some(attempt), ..fact(kind, 0) }
}

fn hop(id: &str, attempt: u32, due_ms: i64) -> Hopped {
    let wait = if attempt == 1 { Wait::None } else { Wait::Retry };
    Hopped {
        delivery: delivery(id),
        identity: identity(id),
        subscription: SUBSCRIPTION,
        generation: Generation::default(),
        is_backfilled: false,
        hop: Hop { attempt, due_ms, wait, ..Hop::first() },
        payload: 7,
        written_ms: due_ms,
    }
}

fn request(id: &str, attempt: u32, arrived_ms: i64, status: u16) -> Request {
    Request {
        delivery: Some(delivery(id)),
        attempt: Some(attempt),
        event: Some(id.into()),
        webhook: Some(id.into()),
        path: "/s/1".into(),
        arrived_ms,
        answered: Some((status, arrived_ms + 5)),
        ended_ms: None,
        body: 7,
        signature: Signature::Valid { standard: true, hook0: true },
    }
}

/// Event `a` at offset 0: fails once, then arrives. Event `b` at offset 1: arrives at once.
fn good() -> Books {
    let subscription = Subscribed {
        id: SUBSCRIPTION,
        application: APPLICATION,
        patterns: vec![EventTypePattern::parse("invoice.*").unwrap()],
        labels: StringMap::new(),
        only: None,
        path: "/s/1".into(),
        former_paths: Vec::new(),
        concurrency: 2,
        per_second: None,
        created_ms: 50,
        ended_ms: None,
        enabled_again_ms: None,
    };
    Books {
        told: vec![Told { identity: identity("a"), payload: 7 }],
        subscriptions: vec![subscription],
        events: vec![event(0, "a"), event(1, "b")],
        facts: vec![
            fact(Kind::Matched, 0),
            fact(Kind::Matched, 1),
            of_delivery(Kind::Attempted, "a", 1),
            of_delivery(Kind::Delivered, "a", 2),
            of_delivery(Kind::Delivered, "b", 1),
        ],
        hops: vec![hop("a", 1, 0), hop("a", 2, 1_200), hop("b", 1, 0)],
        requests: vec![request("a", 1, 200, 500), request("b", 1, 210, 204), request("a", 2, 1_200, 204)],
        ..Books::default()
    }
}

/// What the ledger says after one change.
fn after(change: impl FnOnce(&mut Books)) -> Vec<Option<Invariant>> {
    after_with(&Expect::default(), change)
}

fn after_with(expect: &Expect, change: impl FnOnce(&mut Books)) -> Vec<Option<Invariant>> {
    let mut books = good();
    change(&mut books);
    let audit = audit(&books, expect);
    let mut found: Vec<_> = audit.violations.iter().map(|violation| violation.invariant).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn good_books_balance_and_are_counted() {
    let audit = audit(&good(), &Expect::default());
    assert!(audit.balances(), "{audit}");
    let counts = audit.counts;
    assert_eq!((counts.told, counts.accepted, counts.matched, counts.deliveries, counts.delivered), (1, 2, 2, 2, 2));
    assert_eq!((counts.failed_attempts, counts.requests, counts.repeats, counts.waiting), (1, 3, 0, 0));
    assert!(audit.to_string().contains("delivered 2"));
}

#[test]
fn an_acknowledged_event_that_is_not_on_the_topic_is_a_loss() {
    let lost = Told { identity: identity("c"), payload: 7 };
    assert_eq!(after(|books| books.told.push(lost)), [Some(Invariant::NeverLost)]);
    assert_eq!(after(|books| books.told[0].payload = 8), [Some(Invariant::NeverLost)]);
    assert_eq!(after(|books| books.unreadable.push("x".into())), [Some(Invariant::NeverLost)]);
}

#[test]
fn an_event_without_a_fate_or_with_two_is_seen() {
    assert_eq!(after(|books| books.events.push(event(2, "c"))), [Some(Invariant::OneTerminalState)]);
    let twice = after(|books| books.facts.push(fact(Kind::Repeat, 0)));
    assert_eq!(twice, [None, Some(Invariant::FansOutOnce)], "and one dropped that nobody expects");
}

#[test]
fn a_delivery_that_was_never_written_or_ended_twice_is_seen() {
    let unwritten = after(|books| {
        books.hops.remove(2);
        books.facts.remove(4);
        books.requests.remove(1);
    });
    assert_eq!(unwritten, [Some(Invariant::OneTerminalState)]);
    let twice = after(|books| books.facts.push(of_delivery(Kind::Delivered, "b", 1)));
    assert_eq!(twice, [Some(Invariant::OneTerminalState)]);
    assert_eq!(after(|books| books.facts[0].matched = Some(2)), [Some(Invariant::OneTerminalState)]);
}

#[test]
fn a_delivery_that_never_ends_is_only_allowed_where_it_is_declared() {
    let never = |books: &mut Books| {
        books.facts.remove(4);
    };
    assert_eq!(after(never), [None]);
    assert_eq!(after_with(&Expect { waiting: 1, ..Expect::default() }, never), []);
}

#[test]
fn delivered_without_a_2xx_at_the_endpoint_is_a_lie() {
    let unsent = after(|books| {
        books.requests.remove(1);
    });
    assert_eq!(unsent, [Some(Invariant::OneTerminalState)]);
    assert_eq!(after(|books| books.requests[1].answered = Some((500, 215))), [Some(Invariant::OneTerminalState)]);
    assert_eq!(after(|books| books.requests[1].answered = None), [Some(Invariant::OneTerminalState)]);
}

#[test]
fn dead_letters_and_what_is_said_of_them_belong_together() {
    let letter = || Dead { delivery: delivery("a"), attempts: 2, status: Some(500), reason: "schedule".into() };
    let expect = Expect { dead: 1, ..Expect::default() };
    let dies = |books: &mut Books, letters: usize| {
        books.facts[3] = of_delivery(Kind::DeadLettered, "a", 2);
        books.requests[2].answered = Some((500, 1_205));
        books.dead = (0..letters).map(|_| letter()).collect();
    };
    assert_eq!(after_with(&expect, |books| dies(books, 1)), []);
    assert_eq!(after_with(&expect, |books| dies(books, 0)), [Some(Invariant::OneTerminalState)]);
    assert_eq!(after_with(&expect, |books| dies(books, 2)), [Some(Invariant::OneTerminalState)]);
    assert_eq!(after(|books| books.dead.push(letter())), [Some(Invariant::OneTerminalState)]);
    assert_eq!(after(|books| dies(books, 1)), [None], "nobody declared it");
}

#[test]
fn rejected_events_need_their_record_and_get_no_delivery() {
    let expect = Expect { rejected: 1, ..Expect::default() };
    let rejected = |books: &mut Books| {
        books.events.push(Event { place: place(2), written_ms: 102, content: None });
        books.facts.push(fact(Kind::Rejected, 2));
    };
    let record = Rejected { place: Some(place(2)), reason: "null_value".into(), value: None, cut: None };
    assert_eq!(after_with(&expect, rejected), [Some(Invariant::NeverLost)]);
    let with_record = |books: &mut Books| {
        rejected(books);
        books.rejected.push(record.clone());
    };
    assert_eq!(after_with(&expect, with_record), []);
    assert_eq!(after(|books| books.rejected.push(record.clone())), [Some(Invariant::NeverLost)]);
}

#[test]
fn what_nobody_accepted_or_nobody_wanted_must_not_arrive() {
    let mut stranger = request("zzz", 1, 300, 204);
    stranger.delivery = Some(DeliveryId(Uuid::from_u128(9)));
    assert_eq!(after(|books| books.requests.push(stranger)), [Some(Invariant::OnlyAccepted)]);
    let mut unnamed = request("a", 1, 300, 204);
    unnamed.delivery = None;
    assert_eq!(after(|books| books.requests.push(unnamed)), [Some(Invariant::OnlyAccepted)]);
    let unwanted = after(|books| books.subscriptions[0].labels = [("a".to_owned(), "b".to_owned())].into());
    assert!(unwanted.contains(&Some(Invariant::OnlyAccepted)));
    assert_eq!(after(|books| books.requests[1].path = "/s/2".into()), [Some(Invariant::OnlyAccepted)]);
}

#[test]
fn a_repeat_that_fires_again_is_seen() {
    let again = |books: &mut Books| {
        books.events.push(event(2, "b"));
        books.facts.push(fact(Kind::Matched, 2));
        books.hops.push(hop("b", 1, 0));
    };
    assert!(after(again).contains(&Some(Invariant::FansOutOnce)));
    let dropped = |books: &mut Books| {
        books.events.push(event(2, "b"));
        books.facts.push(fact(Kind::Repeat, 2));
    };
    assert_eq!(after(dropped), [None]);
    assert_eq!(after_with(&Expect { dropped: Some(1), ..Expect::default() }, dropped), []);
}

#[test]
fn a_wrong_delivery_id_is_seen() {
    let foreign = after(|books| books.hops[2].subscription = SubscriptionId(Uuid::from_u128(3)));
    assert_eq!(foreign, [Some(Invariant::PureDeliveryId)]);
    assert_eq!(after(|books| books.requests[1].webhook = Some("x".into())), [Some(Invariant::PureDeliveryId)]);
}

#[test]
fn early_requests_repeated_hops_and_gaps_in_the_story_are_seen() {
    assert_eq!(after(|books| books.requests[2].arrived_ms = 1_199), [Some(Invariant::NeverEarly)]);
    assert_eq!(after(|books| books.hops.push(hop("a", 2, 1_200))), [Some(Invariant::NeverEarly)]);
    let untold = after(|books| {
        books.facts.remove(2);
    });
    assert_eq!(untold, [Some(Invariant::NeverEarly)]);
    let twice = after(|books| books.facts.push(of_delivery(Kind::Attempted, "a", 1)));
    assert_eq!(twice, [Some(Invariant::NeverEarly)]);
}

#[test]
fn changed_bytes_and_bad_signatures_are_seen() {
    assert_eq!(after(|books| books.requests[0].body = 8), [Some(Invariant::SameBytes)]);
    assert_eq!(after(|books| books.hops[0].payload = 8), [Some(Invariant::SameBytes)]);
    let unsigned = after(|books| books.requests[0].signature = Signature::Valid { standard: true, hook0: false });
    assert_eq!(unsigned, [Some(Invariant::SameBytes)]);
}

#[test]
fn repeats_are_held_against_the_budget() {
    let again = |books: &mut Books| books.requests.push(request("b", 1, 400, 204));
    assert_eq!(after(again), [Some(Invariant::CommitBelowUnresolved)]);
    assert_eq!(after_with(&Expect { repeats: 1, ..Expect::default() }, again), []);
}

#[test]
fn more_requests_in_flight_than_the_cap_are_seen_unless_an_owner_died() {
    let crowded = |books: &mut Books| {
        for request in &mut books.requests {
            request.arrived_ms = 1_300;
            request.answered = Some((request.answered.unwrap().0, 1_400));
        }
    };
    assert_eq!(after(crowded), [Some(Invariant::LaneCap)]);
    assert_eq!(after_with(&Expect { unclean: true, ..Expect::default() }, crowded), []);
}

#[test]
fn a_subscription_made_later_may_get_an_event_but_need_not() {
    let late = |books: &mut Books| books.subscriptions[0].created_ms = 101;
    assert_eq!(after(late), [], "it may");
    let without = |books: &mut Books| {
        late(books);
        books.hops.retain(|hop| hop.identity.id != "a");
        books.facts[0].matched = Some(0);
        books.facts.drain(2..4);
        books.requests.retain(|request| request.event.as_deref() == Some("b"));
    };
    assert_eq!(after(without), [], "it need not");
    let ended = |books: &mut Books| books.subscriptions[0].ended_ms = Some((90, 95));
    assert!(after(ended).contains(&Some(Invariant::OnlyAccepted)), "after its end it must not");
    let again = |at_ms: i64| {
        move |books: &mut Books| {
            ended(books);
            books.subscriptions[0].enabled_again_ms = Some(at_ms);
        }
    };
    assert_eq!(after(again(96)), [], "enabled again, it must");
    let lost = |books: &mut Books| {
        again(96)(books);
        without(books);
        books.subscriptions[0].created_ms = 1;
    };
    assert!(!after(lost).is_empty(), "and where it does not, it is missed");
    assert_eq!(after(again(1_000)), [], "of what was written meanwhile it may get any");
}

#[test]
fn an_attempt_whose_target_nobody_tells_of_is_found() {
    let with = |kind, target| Fact { subscription: Some(SUBSCRIPTION), target: Some(target), ..fact(kind, 0) };
    let told = |books: &mut Books| books.facts.push(Fact { place: None, ..with(Kind::Target, 7) });
    let used = |books: &mut Books| (books.facts[4].subscription, books.facts[4].target) = (Some(SUBSCRIPTION), Some(7));
    assert!(after(told).is_empty());
    assert_eq!(after(used), [Some(Invariant::NeverLost)]);
    let both = |books: &mut Books| {
        told(books);
        used(books);
    };
    assert!(after(both).is_empty());
    let older = |books: &mut Books| {
        books.facts.push(Fact { place: None, ..with(Kind::Target, 6) });
        used(books);
    };
    assert_eq!(after(older), [Some(Invariant::NeverLost)], "another version");
}

#[test]
fn a_ping_is_a_delivery_and_one_that_nobody_asked_for_is_not() {
    let id = Uuid::from_u128(77);
    let generation = Generation(Some(id));
    let ping = super::pings::Pinged::new(id, APPLICATION, SUBSCRIPTION, 300);
    let text = id.to_string();
    let mut hopped = Hopped { delivery: ping.delivery(), generation, ..hop(&text, 1, 0) };
    hopped.identity = identity(&text);
    let arrive = |books: &mut Books| {
        books.hops.push(hopped.clone());
        books.facts.push(Fact {
            delivery: Some(ping.delivery()),
            place: None,
            ..of_delivery(Kind::Delivered, &text, 1)
        });
        books.requests.push(Request { delivery: Some(ping.delivery()), ..request(&text, 1, 310, 204) });
    };
    let asked = |books: &mut Books| {
        let mut ping = ping.clone();
        ping.look_up(std::slice::from_ref(&hopped));
        books.pings.push(ping);
    };
    let silent = |books: &mut Books| {
        arrive(books);
        asked(books);
    };
    assert!(after(silent).is_empty());
    assert_eq!(after(asked), [Some(Invariant::OneTerminalState)], "it never came");
    assert!(after(arrive).contains(&Some(Invariant::OnlyAccepted)), "nobody asked for it");
}
