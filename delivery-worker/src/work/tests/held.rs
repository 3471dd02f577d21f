//! What ordering keys wait for, where what was to be written for it cannot be, is lost, or is somebody else's.

use std::collections::BTreeSet;

use http::{HeaderMap, StatusCode};
use schemas::control::HurriedRetry;
use schemas::delivery::{Delivery, Hop, Wait};
use schemas::header;
use schemas::lanes::{HeldKey, PendingRetry, SupersededRetry};
use schemas::ordering::OrderingKey;

use super::*;
use crate::attempts::Completed;
use crate::book::Book;
use crate::classify::answered;
use crate::client::Answer;
use crate::engine::Dispatch;
use crate::report::Attempt;
use crate::request::Signed;

const KEY: u64 = 7;
const DUE_MS: i64 = 1_500_000;

/// A delivery of the only subscription.
fn ordered(event: &str, key: u64) -> Record {
    testing::ordered(event, 1, key, 5)
}

/// Its retry.
fn retried(event: &str, key: u64, due_ms: i64) -> Record {
    let first = ordered(event, key);
    let delivery = Delivery::decode(&first).unwrap();
    let hop = Hop { attempt: 2, due_ms, wait: Wait::Retry, ..delivery.hop };
    Record { headers: delivery.to_hop(Arc::from("hookbus.deliveries"), None, hop, None).headers, ..first }
}

/// The key of a delivery waits for the retry of the record at an offset.
fn waiting(event: &str, key: u64, record: i64) -> HeldKey {
    let delivery = Delivery::decode(&ordered(event, key)).unwrap().id;
    let retry = Some(PendingRetry::new(record, 2, DUE_MS));
    HeldKey { key: OrderingKey(key), delivery, matched_at: 5, until_ms: 9_000_000, retry, listed_at: None }
}

/// The shop, of which these retries are wanted now.
fn wanting(held: &[HeldKey]) -> Vec<ControlObject> {
    let mut objects = shop();
    if let Some(ControlObject::Subscription(subscription)) = objects.last_mut() {
        let wanted = |held: &HeldKey| HurriedRetry {
            delivery: held.delivery,
            due_ms: held.retry.as_ref().map_or(0, |retry| retry.due_ms),
        };
        subscription.hurried = held.iter().map(wanted).collect();
    }
    objects
}

impl Bench {
    /// Its partition begins, with lists of which these are entries, and keys that wait.
    fn opened(mut self, listed: &[i64], held: &[HeldKey]) -> Self {
        let (id, mut book) = (testing::subscription_id(1), Book::new(Arc::clone(&self.topics.lanes), 0));
        book.begin();
        for offset in listed {
            let age = crate::lists::Age { oldest_ms: 0, dead_ms: i64::MAX };
            book.list(id, schemas::lanes::ListRole::FirstTries, *offset, age);
        }
        held.iter().for_each(|held| book.hold(id, held.clone()));
        book.encode();
        book.keep();
        self.work.opened(&self.lease.clone(), FoundBook::of(book, BTreeSet::new()), self.now);
        self
    }

    /// A record comes from Kafka.
    fn brings(&mut self, offset: i64, record: Record) {
        assert!(self.outbox.admit(self.lease.epoch, offset));
        self.work.records(&self.lease, vec![Record { offset, ..record }], self.now).unwrap();
    }

    /// The next request is answered with 503.
    fn fails(&mut self) {
        let now_ms = self.work.engine_ms(self.now);
        let Dispatch { ticket, subscription, .. } = self.work.engine.dispatch(now_ms).expect("one goes");
        let verdict = answered(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), 0);
        let mut answer = Answer::of(verdict);
        answer.status = Some(StatusCode::SERVICE_UNAVAILABLE);
        answer.detail = Some("later".into());
        let (started_ms, signed) = (self.now.wall_ms, Signed::default());
        let attempt = Attempt { started_ms, elapsed_ms: 1, first_byte_ms: None, target: 5, signed, answer };
        let completed = Completed { ticket, subscription, attempt, lag_ms: 0 };
        let mut turn = Turn::new(&mut self.outbox, self.now);
        let resolved = self.work.outcome(&completed, &mut turn).unwrap().unwrap();
        self.work.put(resolved, &mut turn);
    }

    /// A transaction is committed: what its entries do, but for what is known of endpoints, and what it writes beside `lanes`.
    fn commits(&mut self) -> (Vec<LaneNote>, Vec<OutRecord>) {
        let Some((batch, mut transaction)) = self.outbox.cut(0) else { return (Vec::new(), Vec::new()) };
        self.work.seal(&batch, &mut transaction.outputs);
        self.work.committed(batch.entries().iter(), self.now);
        let notes = batch.entries().iter().map(|entry| entry.note.clone());
        let notes = notes.filter(|note| !matches!(note, LaneNote::Condition(..))).collect();
        let outputs = transaction.outputs.into_iter().map(|output| output.record);
        (notes, outputs.filter(|output| output.topic != self.topics.lanes).collect())
    }

    /// Kafka refuses the first output of a transaction.
    fn refused(&mut self) {
        let (batch, mut transaction) = self.outbox.cut(0).unwrap();
        self.work.seal(&batch, &mut transaction.outputs);
        let refused = [(0, "take what is too large".to_owned())];
        self.outbox.put_back_refused(batch, transaction, &refused, &mut self.work, self.now).unwrap();
    }

    fn book(&self) -> &Book {
        self.work.books.of(self.lease.epoch).unwrap()
    }

    fn held(&self) -> Vec<HeldKey> {
        self.book().held_keys(testing::subscription_id(1))
    }

    fn superseded(&self) -> &[SupersededRetry] {
        self.book().superseded(testing::subscription_id(1))
    }

    /// What is asked for is there.
    fn answered(&mut self, offset: i64, record: Record) {
        assert!(self.asked().iter().any(|(asked, _)| *asked == offset), "{:?}", self.asked());
        self.work.read_back.forget(self.lease.epoch);
        self.fetched(offset, kafka::FetchOutcome::Found(Record { offset, ..record }));
        self.turn();
    }

    /// The event that goes next.
    fn next(&mut self) -> Option<String> {
        let now_ms = self.work.engine_ms(self.now);
        self.work.engine.dispatch(now_ms).map(|dispatch| dispatch.delivery.event_id().to_owned())
    }
}

fn kinds(outputs: &[OutRecord]) -> Vec<Kind> {
    outputs.iter().filter_map(|output| Some(Lifecycle::decode(output.value.as_ref()?).ok()?.kind)).collect()
}

#[test]
fn a_retry_that_is_never_written_is_waited_for_by_nobody() {
    for is_listed in [false, true] {
        let listed: &[i64] = if is_listed { &[0] } else { &[] };
        let mut bench = Bench::new(shop()).opened(listed, &[waiting("evt_1", KEY, 0)]);
        // It came back once, so the key is held already.
        let record = retried("evt_1", KEY, 500);
        if is_listed {
            bench.turn();
            bench.answered(0, record);
        } else {
            bench.brings(0, record);
        }
        bench.brings(50, ordered("evt_2", KEY));
        bench.turn();
        bench.fails();
        bench.refused();
        let (notes, outputs) = bench.commits();
        let [LaneNote::Unheld(_, was_listed, OrderingKey(KEY))] = notes[..] else { panic!("{notes:?}") };
        assert_eq!((was_listed, bench.held(), bench.work.books.queued()), (is_listed, vec![], 0));
        assert_eq!(kinds(&outputs), [Kind::DeadLettered, Kind::Attempted, Kind::Target]);
        assert_eq!(bench.unsettled(), (0, 0), "it is settled as every outcome");
        assert_eq!(bench.next().as_deref(), Some("evt_2"));
    }
}

#[test]
fn a_retry_whose_copy_is_never_written_goes_when_it_is_due() {
    let held = waiting("evt_1", KEY, 3);
    let mut bench = Bench::new(wanting(std::slice::from_ref(&held))).opened(&[], std::slice::from_ref(&held));
    bench.turn();
    bench.answered(3, ordered("evt_1", KEY));
    bench.refused();
    let (notes, outputs) = bench.commits();
    assert_eq!((notes, outputs.len()), (vec![LaneNote::Undone], 0), "nothing has happened");
    assert_eq!((bench.held(), bench.superseded()), (vec![held], &[][..]));
    bench.brings(70, ordered("evt_2", KEY));
    bench.turn();
    assert_eq!(bench.next(), None, "it waits for the retry");
    bench.now = Now { wall_ms: DUE_MS + 1, boot_ms: bench.now.boot_ms + 500_001, ..bench.now };
    bench.brings(71, retried("evt_1", KEY, DUE_MS));
    bench.turn();
    assert_eq!(bench.next().as_deref(), Some("evt_1"));
}

/// Its owner dropped the retry, for the copy was on its way: then the delivery ends with the copy.
#[test]
fn a_copy_that_is_never_written_is_the_end_where_its_retry_was_dropped_meanwhile() {
    let held = waiting("evt_1", KEY, 3);
    let mut bench = Bench::new(wanting(std::slice::from_ref(&held))).opened(&[], &[held]);
    bench.turn();
    bench.answered(3, ordered("evt_1", KEY));
    bench.brings(70, retried("evt_1", KEY, DUE_MS));
    bench.brings(71, ordered("evt_2", KEY));
    bench.turn();
    bench.refused();
    let (notes, outputs) = bench.commits();
    assert!(matches!(notes[..], [LaneNote::Freed(..), LaneNote::Superseded(..)]), "{notes:?}");
    assert_eq!(kinds(&outputs), [Kind::DeadLettered]);
    assert_eq!((bench.held(), bench.superseded()), (vec![], &[][..]));
    assert_eq!(bench.next().as_deref(), Some("evt_2"));
}

/// The offset may be another record's by now: where offsets were set by hand, or the topic was made anew.
#[test]
fn what_the_window_brings_is_its_own_whatever_was_asked_for_there() {
    let held = waiting("evt_1", KEY, 0);
    let mut bench = Bench::new(wanting(std::slice::from_ref(&held))).opened(&[], &[held]);
    bench.turn();
    assert_eq!(bench.asked(), [(0, kafka::Urgency::Urgent)]);
    bench.brings(0, delivery("evt_9"));
    bench.turn();
    assert_eq!((bench.work.engine.len(), bench.next().as_deref()), (1, Some("evt_9")));
}

#[test]
fn a_retry_that_is_wanted_now_is_asked_for_until_it_is_due_and_never_behind_the_end() {
    let failed = || kafka::KafkaError::Client { purpose: "reading back", reason: "no leader".into() };
    let beyond = |bench: &Bench| {
        let (partition, offset) = (bench.lease.partition.clone(), 3);
        kafka::KafkaError::OffsetOutOfRange { partition, offset, log_start: 0, log_end: 2 }
    };
    for (is_beyond_end, later_ms, again) in [(true, 2_000, false), (false, 2_000, true), (false, 600_000, false)] {
        let held = waiting("evt_1", KEY, 3);
        let mut bench = Bench::new(wanting(std::slice::from_ref(&held))).opened(&[], &[held]);
        bench.turn();
        bench.work.read_back.forget(bench.lease.epoch);
        for step_ms in [later_ms, 2_000] {
            let error = if is_beyond_end { beyond(&bench) } else { failed() };
            let Now { wall_ms, boot_ms, .. } = bench.now;
            bench.now = Now { wall_ms: wall_ms + step_ms, boot_ms: boot_ms + step_ms, ..bench.now };
            bench.fetched(3, kafka::FetchOutcome::Failed(error));
            bench.turn();
        }
        let asked = if again { vec![(3, kafka::Urgency::Urgent)] } else { Vec::new() };
        assert_eq!(bench.asked(), asked, "{is_beyond_end} {later_ms}");
    }
}

/// It comes too early, and has grown beyond what its delay topic takes.
#[test]
fn what_cannot_be_passed_on_is_waited_for_by_nobody() {
    let mut bench = Bench::new(shop()).opened(&[], &[waiting("evt_1", KEY, 0)]);
    let large = Bytes::from(vec![b' '; 1_048_400]);
    bench.brings(60, Record { value: Some(large), ..retried("evt_1", KEY, 90_000_000) });
    bench.brings(61, ordered("evt_2", KEY));
    bench.turn();
    let (notes, outputs) = bench.commits();
    assert!(matches!(notes[..], [LaneNote::Freed(..), LaneNote::Left]), "{notes:?}");
    assert_eq!(outputs[0].topic, bench.topics.dead_letters);
    assert_eq!(bench.held(), []);
    assert_eq!(bench.next().as_deref(), Some("evt_2"));
    // What can be is waited for.
    let mut bench = Bench::new(shop()).opened(&[], &[waiting("evt_1", KEY, 0)]);
    bench.brings(60, retried("evt_1", KEY, 90_000_000));
    bench.turn();
    assert_eq!((bench.commits().0, bench.held().len()), (vec![LaneNote::Left], 1));
    // As long as Kafka takes it.
    let mut bench = Bench::new(shop()).opened(&[], &[waiting("evt_1", KEY, 0)]);
    bench.brings(60, retried("evt_1", KEY, 90_000_000));
    bench.turn();
    bench.refused();
    bench.turn();
    while !bench.commits().0.is_empty() {}
    assert_eq!(bench.held(), []);
}

/// Two retries are back in a lane that stands: the one that is listed says where it is, and once it is lost its key goes on.
#[test]
fn where_what_a_key_waits_for_is_listed_stands_with_it_and_when_it_is_lost_the_others_go_on() {
    let mut objects = shop();
    if let Some(ControlObject::Subscription(subscription)) = objects.last_mut() {
        subscription.is_paused = true;
    }
    let held = [waiting("evt_1", 1, 0), waiting("evt_2", 2, 1)];
    let mut bench = Bench::with(objects, |settings| settings.rules.look_ahead.records = 4).opened(&[], &held);
    bench.now = Now { wall_ms: DUE_MS + 1, boot_ms: bench.now.boot_ms + 500_001, ..bench.now };
    bench.brings(70, retried("evt_1", 1, DUE_MS));
    bench.brings(71, retried("evt_2", 2, DUE_MS));
    (72..76).for_each(|offset| bench.brings(offset, ordered(&format!("evt_{offset}"), 2)));
    bench.turn();
    let (notes, _) = bench.commits();
    assert!(notes.iter().any(|note| matches!(note, LaneNote::Listed(_))), "{notes:?}");
    let held = bench.held();
    assert_eq!(held.iter().map(|held| held.listed_at).collect::<Vec<_>>(), [None, Some(71)]);

    // The next owner finds it, and its record is gone.
    let mut bench = Bench::new(shop()).opened(&[71, 72], &held[1..]);
    bench.turn();
    bench.work.read_back.forget(bench.lease.epoch);
    bench.fetched(71, kafka::FetchOutcome::Gone);
    bench.fetched(72, kafka::FetchOutcome::Found(Record { offset: 72, ..ordered("evt_72", 2) }));
    bench.turn();
    let (notes, _) = bench.commits();
    assert!(matches!(notes[..], [LaneNote::Freed(..), LaneNote::LeftList(_)]), "before the end: {notes:?}");
    assert_eq!((bench.held(), bench.next().as_deref()), (vec![], Some("evt_72")));
}

#[test]
fn a_copy_that_goes_early_carries_what_the_retry_does() {
    let mut bench = Bench::new(shop()).opened(&[], &[]);
    bench.brings(0, ordered("evt_1", KEY));
    bench.turn();
    bench.fails();
    let (_, outputs) = bench.commits();
    let retry = &outputs[0];
    let held = bench.held();
    let mut bench = Bench::new(wanting(&held)).opened(&[], &held);
    bench.turn();
    bench.answered(0, ordered("evt_1", KEY));
    let (notes, outputs) = bench.commits();
    assert!(matches!(notes[..], [LaneNote::Hurried(..)]), "{notes:?}");
    let headers = |record: &OutRecord| -> Vec<(String, String)> {
        let all = record.headers.iter();
        let all = all.map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
        let all = all.map(|(name, value)| (name.into_owned(), value.into_owned()));
        all.filter(|(name, _)| name != header::DUE).collect()
    };
    assert_eq!(headers(&outputs[0]), headers(retry));
    assert_eq!(outputs[0].headers.text(header::LAST_ERROR), Some("status 503: later"));
    assert!(outputs[0].headers.text(header::FAILING_SINCE).is_some());
    assert_eq!(&*outputs[0].topic, "hookbus.deliveries");
}
