//! What the role does when an output is refused or a lease goes away.

use std::time::Duration;

use chassis::clock::instant;
use chassis::metrics::Registry;
use kafka::{Transaction, Window};
use schemas::control::ControlObject;
use schemas::record::{Headers, TopicPartition};
use schemas::rejected::RejectReason;
use schemas::topics::TopicSettings;
use stage::{BatchLimits, Order, Outbox, Slow, StageError};

use super::*;
use crate::deduplicate::{Identities, Limits};
use crate::owners::Owners;
use crate::weigh::EventLimits;

mod moved;
mod slices;

const NOW_MS: i64 = 1_790_000_000_000;

/// A role with two partitions and nothing around it.
struct World {
    work: FanoutWork,
    outbox: Outbox<Note>,
}

impl World {
    fn new() -> Self {
        Self::of([])
    }

    fn of(objects: impl IntoIterator<Item = ControlObject>) -> Self {
        let topics = TopicSettings::default().topics();
        let expander = Expander::new(topics.clone(), Duration::from_secs(60));
        let identities = Identities::new(Limits::new(Duration::from_secs(3_600), 1_000));
        let connection = kafka::Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap();
        let work = FanoutWork {
            catalog: Catalog::of(objects, vault()),
            metrics: FanoutMetrics::new(&Registry::new()).unwrap(),
            restorer: Restorer {
                offsets: kafka::Offsets::start(&connection).unwrap(),
                connection,
                seen_topic: Arc::clone(&topics.seen),
                seen_partitions: 16,
                transaction_timeout: Duration::from_secs(10),
                identities: identities.clone(),
                is_of_sources: false,
            },
            planner: Planner::new(
                expander.clone(),
                EventLimits { matches: 10, bytes: 1_000_000, slice_records: 2, slice_bytes: 65_536 },
                Owners::new(schemas::ids::OrganizationId(uuid::Uuid::nil())),
            ),
            expander,
            seen_partitions: 16,
            intake: None,
            retried: None,
            seen: BTreeMap::new(),
            cursors: Cursors::default(),
            queue: Queue::default(),
            crowded: VecDeque::new(),
            index: None,
            is_answered: false,
            pulse: Pulse::default(),
            planned_boot_ms: 0,
        };
        let mut world = Self { work, outbox: Outbox::new(BatchLimits::default(), Order::InOrder) };
        for partition in 0..2 {
            world.outbox.open(&lease(partition), Window::restore(0, 0, Vec::new()), 0);
            world.work.opened(
                &lease(partition),
                BegunWith { seen: identities.partition(), place: None, written: None },
                now(),
            );
        }
        world
    }

    /// Plans an event with this many deliveries.
    fn add(&mut self, partition: i32, offset: i64, deliveries: usize) {
        let record = Record {
            offset,
            timestamp_ms: NOW_MS + offset,
            key: None,
            value: Some(bytes::Bytes::from_static(b"{}")),
            headers: Headers::default(),
        };
        let lease = lease(partition);
        let id = [u8::try_from(offset).unwrap(); 16];
        self.work.seen.get_mut(&lease.epoch).unwrap().insert(id, NOW_MS);
        assert!(self.outbox.admit(lease.epoch, offset));
        let mut outputs = vec![out("deliveries"); deliveries];
        outputs.push(out("attempts"));
        let (verdict, id) = (EventVerdict::Matched(deliveries), Some((id, NOW_MS)));
        let note = Note { record, verdict, id, stood: None, written: None };
        self.outbox.resolve(Entry::new(lease.epoch, (offset, NOW_MS), 2, 0, note), &mut outputs);
    }

    fn cut(&mut self) -> (Batch<Note>, Transaction) {
        let (batch, mut transaction) = self.outbox.cut(0).unwrap();
        self.work.seal(&batch, &mut transaction.outputs);
        (batch, transaction)
    }

    fn refuse(&mut self, index: usize) -> Result<(), StageError> {
        let (batch, transaction) = self.cut();
        self.outbox.put_back_refused(batch, transaction, &[(index, "too large".to_owned())], &mut self.work, now())
    }

    fn remembers(&self, partition: i32, byte: u8) -> bool {
        self.work.seen[&lease(partition).epoch].contains(&[byte; 16])
    }
}

fn vault() -> Arc<vault::Vault> {
    Arc::new(vault::Vault::new(&[vault::EncryptionKey::new("k1", [1; 32])], &[2; 32]).unwrap())
}

fn lease(partition: i32) -> Lease {
    let epoch = Epoch(u64::try_from(partition).unwrap());
    Lease { partition: TopicPartition::new("events", partition), epoch }
}

fn now() -> Now {
    Now { wall_ms: NOW_MS, boot_ms: 0, instant: instant() }
}

fn out(topic: &str) -> OutRecord {
    let value = Some(bytes::Bytes::from_static(b"x"));
    OutRecord { topic: Arc::from(topic), partition: None, key: None, value, headers: Headers::default() }
}

fn topics(transaction: &Transaction) -> Vec<(usize, &str)> {
    transaction.outputs.iter().map(|output| (output.lease, &*output.record.topic)).collect()
}

fn ids(transaction: &Transaction) -> Vec<usize> {
    let seen = transaction.outputs.iter().filter(|output| &*output.record.topic == "hookbus.seen");
    seen.map(|output| schemas::seen::decode(output.record.value.as_ref().unwrap()).unwrap().count()).collect()
}

#[tokio::test]
async fn a_refused_output_takes_its_whole_event_to_rejected_and_its_identity_away() {
    let mut world = World::new();
    world.add(0, 5, 1);
    world.add(0, 6, 2);
    world.add(1, 7, 1);
    world.refuse(3).unwrap();
    assert!(!world.remembers(0, 6) && world.remembers(0, 5) && world.remembers(1, 7));
    let (batch, transaction) = world.cut();
    let names = ["deliveries", "attempts", "hookbus.rejected", "hookbus.attempts", "deliveries", "attempts"];
    assert_eq!(topics(&transaction)[..6], std::array::from_fn::<_, 6, _>(|at| (usize::from(at > 3), names[at])));
    assert_eq!(ids(&transaction), [1, 1]);
    let committed: Vec<i64> = transaction.progress.iter().map(|progress| progress.committed).collect();
    assert_eq!(committed, [7, 8]);
    assert_eq!(batch.entries()[1].note.verdict, EventVerdict::Rejected(RejectReason::Unwritable));
    // Even that is refused: nothing but the coordinates is written.
    let refused = [(2, "too large".to_owned())];
    world.outbox.put_back_refused(batch, transaction, &refused, &mut world.work, now()).unwrap();
    let (batch, transaction) = world.cut();
    assert_eq!(transaction.outputs[2].record.value, None);
    let error = world.outbox.put_back_refused(batch, transaction, &refused, &mut world.work, now()).unwrap_err();
    assert_eq!(error.to_string(), "HB-026: record 6 of events/0 can neither be handled nor rejected: too large");
}

#[tokio::test]
async fn a_refused_record_of_accepted_identities_ends_the_role() {
    let mut world = World::new();
    world.add(0, 5, 0);
    assert!(world.refuse(1).is_err());
}

#[tokio::test]
async fn a_lease_that_is_over_leaves_nothing_behind() {
    let mut world = World::new();
    world.add(0, 5, 1);
    world.add(1, 6, 2);
    world.work.closed(&lease(0));
    world.outbox.close(lease(0).epoch);
    let (_, transaction) = world.cut();
    assert_eq!((topics(&transaction).len(), ids(&transaction)), (4, vec![1]));
    assert!(!world.work.seen.contains_key(&lease(0).epoch));
}

#[tokio::test]
async fn what_is_held_makes_nothing_that_comes_after_a_quiet_time_look_old() {
    let mut world = World::new();
    let record = |offset| Record { offset, timestamp_ms: NOW_MS, key: None, value: None, headers: Headers::default() };
    world.work.queue.hold(&lease(0));
    world.work.queue.push(lease(0), vec![record(5)]);
    let later = Now { boot_ms: 120_000, ..now() };
    world.work.turn(&mut Turn::new(&mut world.outbox, later)).unwrap();
    world.work.queue.push(lease(1), vec![record(6)]);
    let waiting = world.work.waiting(Now { boot_ms: 120_001, ..later }).unwrap();
    assert_eq!((waiting.offset, waiting.since_boot_ms), (6, 120_000), "nothing waited until then");
}
