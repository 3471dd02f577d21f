//! What commits say of an event that is written in slices, and what is written where Kafka can never take something of it.

use schemas::attempt::{Kind, Lifecycle};
use schemas::control::{Application, Subscription, Target};
use schemas::delivery::Origin;
use schemas::event_type::EventTypePattern;
use schemas::header;
use schemas::ids::{ApplicationId, OrganizationId, SubscriptionId};
use uuid::Uuid;

use super::*;

pub(super) const SHOP: ApplicationId = ApplicationId(Uuid::from_u128(1));

/// A subscription to everything that its filter lets through.
fn subscription(number: u128, filter: Option<String>) -> ControlObject {
    ControlObject::Subscription(Box::new(Subscription {
        event_types: vec![EventTypePattern::parse("**").unwrap()],
        target: Target { method: "POST".into(), url: "https://example.com/".into(), ..Target::default() },
        filter,
        ..Subscription::new(SubscriptionId(Uuid::from_u128(number)), SHOP, 0)
    }))
}

fn shop() -> ControlObject {
    ControlObject::Application(Application::new(SHOP, OrganizationId(Uuid::nil()), "shop", 0))
}

/// Five subscriptions to everything: slices of two, two and one.
pub(super) fn wide() -> World {
    World::of((11..16).map(|number| subscription(number, None)).chain([shop()]))
}

/// So many subscriptions, of which each wants events with its own number alone.
pub(super) fn filtered(count: u128) -> impl Iterator<Item = ControlObject> {
    (0..count).map(|number| subscription(1_000 + number, Some(format!("data.n == {number}")))).chain([shop()])
}

fn order(offset: i64) -> Record {
    let (id, application) = (format!("evt_{offset}"), SHOP.to_string());
    let headers = [(header::CE_ID, &*id), (header::CE_SOURCE, "/shop"), (header::CE_TYPE, "a.b")];
    let headers = headers.into_iter().chain([(header::APPLICATION, &*application)]).collect();
    Record { offset, timestamp_ms: NOW_MS, key: None, value: Some(bytes::Bytes::from_static(b"{}")), headers }
}

impl World {
    /// Records come, and the snapshot covers them.
    fn read(&mut self, partition: i32, offsets: std::ops::Range<i64>) {
        for offset in offsets.clone() {
            assert!(self.outbox.admit(lease(partition).epoch, offset));
        }
        self.work.records(&lease(partition), offsets.map(order).collect(), now()).unwrap();
        self.turn();
        (self.work.index, self.work.is_answered) = (None, true);
        self.turn();
    }

    fn turn(&mut self) {
        self.work.turn(&mut Turn::new(&mut self.outbox, now())).unwrap();
    }

    fn seal(&mut self) -> (Batch<Note>, Transaction, Vec<Claimed>) {
        let (batch, mut transaction) = self.outbox.cut(0).unwrap();
        let claims = self.work.seal(&batch, &mut transaction.outputs);
        (batch, transaction, claims)
    }

    /// The next transaction is committed, and a turn follows: offsets and claims of its parts, and whose deliveries are in it.
    fn commit(&mut self) -> (Vec<i64>, Vec<Option<u64>>, Vec<u128>) {
        let (batch, transaction, claims) = self.seal();
        self.work.committed(batch.entries().iter(), now());
        self.turn();
        let count = |claim| match claim {
            Claimed::Slices(cursor, None) => Some(cursor.count),
            Claimed::Nothing => None,
            claim @ (Claimed::Lists(_) | Claimed::AsFound | Claimed::Position(_) | Claimed::Slices(..)) => {
                panic!("{claim:?}")
            }
        };
        let committed = transaction.progress.iter().map(|progress| progress.committed).collect();
        (committed, claims.into_iter().map(count).collect(), receivers(&transaction))
    }

    fn refuse_these(&mut self, indices: &[usize]) {
        let (batch, transaction, _) = self.seal();
        let refused: Vec<(usize, String)> = indices.iter().map(|index| (*index, "too large".to_owned())).collect();
        self.outbox.put_back_refused(batch, transaction, &refused, &mut self.work, now()).unwrap();
        self.turn();
    }
}

pub(super) fn of_topic<'a>(transaction: &'a Transaction, topic: &'a str) -> impl Iterator<Item = &'a OutRecord> {
    transaction.outputs.iter().map(|output| &output.record).filter(move |record| &*record.topic == topic)
}

fn receivers(transaction: &Transaction) -> Vec<u128> {
    let key = |record: &OutRecord| Uuid::try_parse_ascii(record.key.as_ref().unwrap()).unwrap().as_u128();
    of_topic(transaction, "hookbus.deliveries").map(key).collect()
}

fn told(transaction: &Transaction) -> Vec<Kind> {
    let kind = |record: &OutRecord| Lifecycle::decode(record.value.as_ref().unwrap()).unwrap().kind;
    of_topic(transaction, "hookbus.attempts").map(kind).collect()
}

#[tokio::test]
async fn commits_say_how_far_the_event_at_their_offset_is_until_it_is_done() {
    let mut world = wide();
    world.read(0, 5..7);
    assert_eq!(world.work.facts_oldest(), Some(NOW_MS), "it counts as not committed");
    assert_eq!(world.commit(), (vec![5], vec![Some(2)], vec![11, 12]));
    // Another partition's event passes it, in slices of its own beside it.
    world.read(1, 9..10);
    assert_eq!(world.commit(), (vec![5, 9], vec![Some(4), Some(2)], vec![13, 14, 11, 12]));
    assert_eq!(world.commit(), (vec![5, 9], vec![Some(5), Some(4)], vec![15, 13, 14]));
    let (committed, claims, made) = world.commit();
    assert_eq!((committed, claims, made), (vec![6, 9], vec![Some(2), Some(5)], vec![15, 11, 12]));
    assert!(world.remembers_order(0, 5), "with its end");
    assert_eq!(world.commit(), (vec![10, 6], vec![None, Some(4)], vec![13, 14]));
    assert_eq!(world.commit(), (vec![6], vec![Some(5)], vec![15]));
    assert_eq!(world.commit(), (vec![7], vec![None], vec![]));
}

impl World {
    fn remembers_order(&self, partition: i32, offset: i64) -> bool {
        let id = schemas::identity::event_uuid(SHOP, "/shop", &format!("evt_{offset}")).into_bytes();
        self.work.seen[&lease(partition).epoch].contains(&id)
    }
}

impl FanoutWork {
    fn facts_oldest(&self) -> Option<i64> {
        [self.queue.oldest_ms(), self.planner.oldest_sliced_ms()].into_iter().flatten().min()
    }
}

#[tokio::test]
async fn an_owner_goes_on_above_what_it_finds_and_only_for_the_record_it_stands_at() {
    let owner = |at| {
        let mut world = wide();
        let cursor = SliceCursor { last: Uuid::from_u128(13), count: 3 };
        let seen = world.work.restorer.identities.partition();
        world.work.opened(&lease(0), BegunWith { seen, place: None, written: Some((at, cursor)) }, now());
        world.read(0, 5..6);
        world
    };
    let mut world = owner(5);
    assert_eq!(world.commit(), (vec![5], vec![Some(5)], vec![14, 15]));
    assert_eq!(world.commit(), (vec![6], vec![None], vec![]));
    assert_eq!(owner(4).commit(), (vec![5], vec![Some(2)], vec![11, 12]), "retention took the other record");
}

#[tokio::test]
async fn a_lease_that_goes_leaves_no_slice_behind_and_commits_what_is_under_way() {
    let mut world = wide();
    world.read(0, 5..6);
    world.work.revoking(&[lease(0)]);
    assert_eq!(world.commit(), (vec![5], vec![Some(2)], vec![11, 12]));
    assert!(world.outbox.cut(0).is_none(), "the next slice is its next owner's");
    world.work.closed(&lease(0));
    assert_eq!((world.work.planner.slices_under_way().count(), world.work.cursors.leases().count()), (0, 0));
}

#[tokio::test]
async fn a_first_slice_that_kafka_never_takes_is_the_whole_events_rejection() {
    let mut world = wide();
    world.read(0, 5..6);
    world.refuse_these(&[1]);
    assert_eq!(world.commit(), (vec![5], vec![None], vec![]), "nothing of it is written");
    let (batch, transaction, _) = world.seal();
    assert_eq!(batch.entries()[0].note.verdict, EventVerdict::Rejected(RejectReason::Unwritable));
    assert_eq!((told(&transaction), transaction.progress[0].committed), (vec![Kind::Rejected], 6));
    assert!(!world.remembers_order(0, 5));
}

#[tokio::test]
async fn a_delivery_that_kafka_never_takes_after_the_first_slice_dies_alone() {
    let mut world = wide();
    world.read(0, 5..6);
    world.commit();
    world.refuse_these(&[0]);
    let (batch, transaction, claims) = world.seal();
    assert_eq!((receivers(&transaction), told(&transaction)), (vec![14], vec![Kind::DeadLettered]));
    let letter = of_topic(&transaction, "hookbus.dead-letters").next().unwrap();
    assert_eq!(letter.headers.text(header::REASON), Some("unwritable"));
    assert!(letter.headers.text(header::DETAIL).unwrap().contains("too large"));
    assert!(matches!(&claims[..], [Claimed::Slices(SliceCursor { count: 4, .. }, None)]), "{claims:?}");
    // Even the letter is refused: that it died is told all the same.
    let refused = [(0, "too large".to_owned())];
    world.outbox.put_back_refused(batch, transaction, &refused, &mut world.work, now()).unwrap();
    let (batch, transaction, _) = world.seal();
    assert_eq!((receivers(&transaction), told(&transaction)), (vec![14], vec![Kind::DeadLettered]));
    assert_eq!(of_topic(&transaction, "hookbus.dead-letters").count(), 0);
    world.work.committed(batch.entries().iter(), now());
    world.turn();
    assert_eq!(world.commit().2, [15]);
    assert_eq!(told(&world.seal().1), [Kind::Matched]);
}

/// As long as an event's filters take, nothing else may be planned, and that is no standstill.
#[tokio::test]
async fn an_event_whose_filters_take_long_does_not_stand_still() {
    let mut world = World::of(filtered(600));
    assert!(world.outbox.admit(lease(0).epoch, 5));
    let value = Some(bytes::Bytes::from_static(b"{\"n\":7}"));
    world.work.records(&lease(0), vec![Record { value, ..order(5) }], now()).unwrap();
    world.turn();
    (world.work.index, world.work.is_answered) = (None, true);
    let mut steps = 0;
    while world.outbox.is_empty() {
        steps += 1;
        let at = Now { boot_ms: 10_000 * steps, ..now() };
        world.work.turn(&mut Turn::new(&mut world.outbox, at)).unwrap();
        let since = world.work.waiting(at).map(|waiting| waiting.since_boot_ms);
        assert!(since.is_none_or(|since| since == at.boot_ms), "step {steps}: {since:?}");
    }
    assert!(steps > 1, "600 filters are compiled in more than 10 ms");
    assert_eq!(world.commit().2, [1_007]);
}

/// The next transaction is one that the cluster is too slow for.
fn too_slow(world: &mut World) {
    let (batch, transaction, _) = world.seal();
    let slow = Slow { written: 1_000, reason: "slow", give_up_bytes: Some(1) };
    world.outbox.put_back_slow(batch, transaction, slow, &mut world.work, now()).unwrap();
    world.turn();
}

#[tokio::test]
async fn a_slice_that_is_too_slow_twice_is_written_in_smaller_ones() {
    let mut world = wide();
    world.read(0, 5..6);
    too_slow(&mut world);
    assert_eq!(receivers(&world.seal().1), [11, 12], "once may be chance");
    let mut world = wide();
    world.read(0, 5..6);
    for _ in 0..4 {
        too_slow(&mut world);
    }
    for (count, receiver) in (1..6).zip(11..16) {
        assert_eq!(world.commit(), (vec![5], vec![Some(count)], vec![receiver]), "one at a time from now on");
    }
    assert_eq!(world.commit(), (vec![6], vec![None], vec![]));
    assert!(world.remembers_order(0, 5));
}

#[tokio::test]
async fn an_end_that_kafka_never_takes_rejects_no_event_that_everyone_has() {
    for refusals in [1, 2] {
        let mut world = wide();
        world.read(0, 5..6);
        for _ in 0..3 {
            world.commit();
        }
        for _ in 0..refusals {
            world.refuse_these(&[0]);
        }
        let (batch, transaction, _) = world.seal();
        assert_eq!(batch.entries()[0].note.verdict, EventVerdict::Matched(5));
        assert!(of_topic(&transaction, "hookbus.rejected").next().is_none());
        assert_eq!(transaction.progress[0].committed, 6);
        let told: Vec<Lifecycle<'_>> = of_topic(&transaction, "hookbus.attempts")
            .map(|record| Lifecycle::decode(record.value.as_ref().unwrap()).unwrap())
            .collect();
        assert_eq!(told.len(), 2 - refusals, "at last nothing is told of it");
        assert!(told.iter().all(|told| told.event.as_ref().is_some_and(|facts| facts.matched == 5)));
        world.work.committed(batch.entries().iter(), now());
        assert!(world.remembers_order(0, 5) && world.work.cursors.leases().count() == 0);
    }
}

#[tokio::test]
async fn an_event_waits_for_room_for_its_candidates_unless_it_is_alone() {
    let mut world = wide();
    world.work.planner.keep_at_most(4);
    world.read(0, 5..7);
    world.read(1, 9..10);
    let mut committed = Vec::new();
    while !world.outbox.is_empty() {
        let (batch, transaction, _) = world.seal();
        world.work.committed(batch.entries().iter(), now());
        world.turn();
        for out in of_topic(&transaction, "hookbus.deliveries") {
            let origin: Origin = out.headers.text(header::ORIGIN).unwrap().parse().unwrap();
            let receiver = Uuid::try_parse_ascii(out.key.as_ref().unwrap()).unwrap();
            committed.push((origin.partition, receiver.as_u128()));
        }
    }
    let of = |partition| (11..16).map(move |receiver| (partition, receiver));
    // Who waits has its turn before the next event of the same partition.
    assert_eq!(committed, [of(0).collect::<Vec<_>>(), of(1).collect(), of(0).collect()].concat());
    assert!(world.work.crowded.is_empty());
}
