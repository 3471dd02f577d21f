//! What newer routes ask of the stage, and what commits say.

use std::time::Duration;

use catalog::SourceMap;
use kafka::{FoundTopics, Handled, SliceCursor, Window};
use schema_registry::{CacheLimits, RegistryAnswer};
use schemas::control::source::TopicStart;
use schemas::control::{SourceFormat, TopicSource};
use schemas::ids::{OrganizationId, PositionId};
use schemas::record::{Headers, Record};
use schemas::status::SourcePartitionState;
use sources::schema::{CompiledSchema, RegisteredSchema, SchemaId, SchemaKey, SchemaKind};
use stage::{BatchLimits, Fetching, Order, Outbox, Turn};

use super::route::RouteLimits;
use super::*;
use crate::config::HELD_FOR;

const TOPIC: &str = "crm.orders";
const TOPIC_ID: Uuid = Uuid::from_u128(70);

struct World {
    newest: watch::Sender<Arc<SourceRoutes>>,
    told: watch::Receiver<Arc<SourcesHealth>>,
    intake: SourcesIntake,
    schemas: SchemaCache,
    queue: Queue,
    source: TopicSource,
}

/// What one turn asked for: topics, how many partitions are paused, resumed and taken over anew.
type Asked = (Option<Vec<String>>, usize, usize, usize);

impl World {
    fn new() -> Self {
        let (newest, routes) = watch::channel(Arc::default());
        let (health, told) = watch::channel(Arc::default());
        let schemas = SchemaCache::new(CacheLimits { grace: Duration::ZERO, ..CacheLimits::default() });
        let (id, organization) = (SourceId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(9)));
        let position = PositionId(Uuid::from_u128(5));
        let new = TopicSource::new(id, organization, "one", SourceFormat::Cloudevents, position, 0);
        let source = TopicSource { topics: vec!["crm.*".to_owned()], ..new };
        Self {
            newest,
            told,
            intake: SourcesIntake::new(routes, health, schemas.clone(), 7),
            schemas,
            queue: Queue::default(),
            source,
        }
    }

    /// Its source is there, and its partition is ours and read.
    fn opened() -> Self {
        let mut world = Self::new();
        world.publish(true);
        world.turn();
        world.open();
        world
    }

    /// The catalog and the cluster say this.
    fn publish(&self, is_there: bool) {
        let source = Arc::new(self.source.clone());
        let sources: SourceMap = Arc::new(is_there.then(|| (source.source_id, source)).into_iter().collect());
        let found = FoundTopics { there: [(Arc::from(TOPIC), 2)].into(), missing: BTreeMap::new() };
        let limits = RouteLimits { own_prefix: "hookbus.".to_owned(), partitions: 10, decoded: 1_000 };
        let routes = SourceRoutes::of_sources(&sources, &found, &limits, &self.newest.borrow());
        self.newest.send_replace(Arc::new(routes));
    }

    fn turn(&mut self) -> Asked {
        self.turn_at(Now::read())
    }

    /// A turn when what fails is tried again.
    fn turn_later(&mut self) -> Asked {
        let now = Now::read();
        self.turn_at(Now { instant: now.instant + HELD_FOR, ..now })
    }

    fn turn_at(&mut self, now: Now) -> Asked {
        let mut outbox: Outbox<Note> = Outbox::new(BatchLimits::default(), Order::InOrder);
        let mut turn = Turn::new(&mut outbox, now);
        self.intake.is_changed |= self.intake.newest.has_changed().unwrap();
        self.intake.schemas.note_answers();
        self.intake.follow(&mut turn, &mut self.queue);
        let (fetching, restarts, topics) = turn.asked();
        let count = |wanted| fetching.iter().filter(|(_, is)| *is == wanted).count();
        (topics.map(<[_]>::to_vec), count(Fetching::Paused), count(Fetching::Flowing), restarts.len())
    }

    fn found(position: Option<PositionClaim>, committed: Option<i64>) -> Restored {
        Restored {
            lease: lease(),
            committed,
            read_up_to: committed.unwrap_or(0),
            not_done: Vec::new(),
            lists: None,
            position,
            slices: None,
            topic_id: TOPIC_ID,
            log_start: 0,
            log_end: 100,
            recreated: false,
            cut: None,
        }
    }

    /// The partition is taken over and begins.
    fn open(&mut self) {
        let mut found = Self::found(None, None);
        let (start, anew) = self.intake.begins(&found, Now::read()).unwrap();
        found.begin_anew(anew.unwrap());
        self.intake.opened(&lease(), SourcePlace::of(&found, start), &mut self.queue, Now::read());
    }

    /// The lease ends and another one begins: for tests, of the same number.
    fn reopen(&mut self) {
        self.queue.forget(&lease());
        self.intake.closed(&lease());
        self.open();
    }

    fn push(&mut self, offset: i64) {
        let record = Record { offset, timestamp_ms: 1, key: None, value: None, headers: Headers::default() };
        self.queue.push(lease(), vec![record]);
        if self.queue.ask() {
            self.queue.answered();
        }
    }

    fn planned(&mut self) -> Vec<i64> {
        std::iter::from_fn(|| self.queue.pop()).map(|(_, record)| record.offset).collect()
    }

    /// The first record that waits needs a schema that is not here.
    fn awaits(&mut self) {
        let (whose, record) = self.queue.pop().unwrap();
        self.queue.hold_with(&whose, record);
        self.intake.awaits(Epoch(3), schema(), Now::read());
    }

    /// A registry says this of the schema.
    fn told(&self, answer: RegistryAnswer<Arc<CompiledSchema>>) {
        self.schemas.plant(schema(), answer, Now::read().instant);
    }

    /// The record at this offset cannot be planned, because of what the source names.
    fn fail(&mut self, offset: i64) {
        self.push(offset);
        let (whose, record) = self.queue.pop().unwrap();
        self.queue.hold_with(&whose, record);
        self.intake.fail(Epoch(3), offset, failure("unknown_application", "no application `shop`"), Now::read());
    }

    /// The record at this offset is committed.
    fn commit(&mut self, offset: i64) {
        let record = Record { offset, timestamp_ms: 1, key: None, value: None, headers: Headers::default() };
        self.intake
            .count(Epoch(3), &Note { record, verdict: EventVerdict::Matched(1), id: None, stood: None, written: None });
    }

    fn state(&mut self) -> Option<(SourcePartitionState, Option<String>)> {
        self.intake.tell(&self.queue, &Measured::default(), Now::read());
        let health = Arc::clone(&self.told.borrow_and_update());
        let partition = health.of.values().next()?.topics.get(TOPIC)?.partitions.get(&0)?;
        Some((partition.state, partition.failure.as_ref().map(|failure| failure.code.clone())))
    }
}

fn lease() -> Lease {
    Lease { partition: TopicPartition::new(TOPIC, 0), epoch: Epoch(3) }
}

/// What is told of a partition that waits for a schema.
fn waiting() -> Option<(SourcePartitionState, Option<String>)> {
    Some((SourcePartitionState::Waiting, Some("registry_unavailable".to_owned())))
}

fn schema() -> SchemaKey {
    SchemaKey { registry: SchemaRegistryId(Uuid::from_u128(6)), id: SchemaId::Number(7) }
}

fn found_schema() -> RegistryAnswer<Arc<CompiledSchema>> {
    let registered = RegisteredSchema { kind: SchemaKind::Avro, text: r#""long""#.to_owned(), references: Vec::new() };
    RegistryAnswer::Found(Arc::new(CompiledSchema::compile(&registered, None).unwrap()))
}

fn no_answer() -> RegistryAnswer<Arc<CompiledSchema>> {
    RegistryAnswer::Unavailable("GET http://r/schemas/ids/7 answered 503".to_owned())
}

fn topics() -> Option<Vec<String>> {
    Some(vec![TOPIC.to_owned()])
}

#[test]
fn a_source_that_comes_is_read_and_nothing_more_is_asked_while_it_stays() {
    let mut world = World::new();
    assert_eq!(world.turn(), (None, 0, 0, 0));
    world.publish(true);
    assert_eq!(world.turn(), (topics(), 0, 0, 0));
    world.open();
    assert_eq!(world.turn(), (None, 0, 0, 0));
    world.source.name = "two".to_owned();
    world.publish(true);
    assert_eq!(world.turn(), (None, 0, 0, 0));
    assert_eq!(world.state(), Some((SourcePartitionState::Running, None)));
}

#[test]
fn a_pause_holds_what_was_read_and_a_resume_goes_on_with_it() {
    let mut world = World::opened();
    world.source.is_paused = true;
    world.publish(true);
    assert_eq!(world.turn(), (None, 1, 0, 0));
    world.push(4);
    assert_eq!((world.planned(), world.state()), (vec![], Some((SourcePartitionState::Paused, None))));
    world.source.is_paused = false;
    world.publish(true);
    assert_eq!(world.turn(), (None, 0, 1, 0));
    if world.queue.ask() {
        world.queue.answered();
    }
    assert_eq!((world.planned(), world.state()), (vec![4], Some((SourcePartitionState::Running, None))));
}

#[test]
fn a_source_that_is_paused_from_the_start_is_owned_and_not_read() {
    let mut world = World::new();
    world.source.is_paused = true;
    world.publish(true);
    world.turn();
    world.open();
    assert_eq!(world.turn(), (None, 1, 0, 0));
}

#[test]
fn a_move_takes_the_partition_over_anew_once_and_nothing_more_of_it_is_planned() {
    let mut world = World::opened();
    assert!(world.intake.turn_of(Epoch(3), Now::read().instant).is_some());
    let position_id = PositionId(Uuid::from_u128(6));
    let start = TopicStart { topic_id: TOPIC_ID, position_id, again: true, offsets: vec![40] };
    world.source.starts.insert(TOPIC.to_owned(), start);
    world.publish(true);
    assert_eq!(world.turn(), (None, 0, 0, 1));
    assert!(world.intake.turn_of(Epoch(3), Now::read().instant).is_none());
    world.publish(true);
    assert_eq!(world.turn(), (None, 0, 0, 0), "it is asked for once");

    // It was handled up to 60, and the next owner finds so.
    let part = Part { lease: lease(), records: 1, bytes: 1, committed: 60 };
    let claims = world.intake.claims(&[part]);
    let [Claimed::Position(claim)] = &claims[..] else { panic!("one claim") };
    world.intake.closed(&lease());
    let mut found = World::found(Some(claim.clone()), Some(60));
    let (start, anew) = world.intake.begins(&found, Now::read()).unwrap();
    assert_eq!(start, 40);
    found.begin_anew(anew.unwrap());
    assert_eq!(found.window(40).progress(), Window::restore(40, 40, Vec::new()).progress());
    world.intake.opened(&lease(), SourcePlace::of(&found, 40), &mut world.queue, Now::read());
    let turn = world.intake.turn_of(Epoch(3), Now::read().instant).unwrap();
    assert_eq!([40, 59, 60].map(|at| turn.was_handled(at)), [true, true, false]);
    assert_eq!([59, 60].map(|at| turn.again(at)), [Some(position_id.0), None], "what is new is no repeat");
}

#[test]
fn a_move_waits_for_an_event_that_is_written_in_part_and_a_deletion_does_not() {
    let mut world = World::opened();
    let position_id = PositionId(Uuid::from_u128(6));
    let start = TopicStart { topic_id: TOPIC_ID, position_id, again: false, offsets: vec![40] };
    world.source.starts.insert(TOPIC.to_owned(), start);
    world.publish(true);
    for _ in 0..2 {
        world.intake.note_slices([Epoch(3)].into_iter());
        assert_eq!(world.turn(), (None, 0, 0, 0));
        assert!(world.intake.turn_of(Epoch(3), Now::read().instant).is_some());
    }
    world.intake.note_slices([].into_iter());
    assert_eq!(world.turn(), (None, 0, 0, 1), "it was put off, not forgotten");
    assert!(world.intake.turn_of(Epoch(3), Now::read().instant).is_none());

    let mut world = World::opened();
    world.publish(false);
    world.intake.note_slices([Epoch(3)].into_iter());
    world.turn();
    assert!(world.intake.turn_of(Epoch(3), Now::read().instant).is_none());
}

/// What goes on by a position that its source has left was to be done again by that one or it was new, whatever the next one says.
#[test]
fn an_event_that_is_written_in_part_keeps_its_generation_whatever_the_move_after_it_says() {
    for is_again in [false, true] {
        let mut world = World::opened();
        let position_id = PositionId(Uuid::from_u128(6));
        let start = TopicStart { topic_id: TOPIC_ID, position_id, again: is_again, offsets: vec![40] };
        world.source.starts.insert(TOPIC.to_owned(), start);
        world.publish(true);
        let before = Uuid::from_u128(4);
        let handled = Handled::nothing().with(50, 60);
        let source = world.source.source_id.0;
        let mut found = World::found(Some(PositionClaim { id: before, source, handled }), Some(55));
        found.slices = Some(SliceCursor { last: Uuid::from_u128(9), count: 2_000 });
        let (start, anew) = world.intake.begins(&found, Now::read()).unwrap();
        assert_eq!((start, anew), (55, None));
        world.intake.opened(&lease(), SourcePlace::of(&found, start), &mut world.queue, Now::read());
        let turn = world.intake.turn_of(Epoch(3), Now::read().instant).unwrap();
        assert_eq!([55, 60].map(|at| turn.again(at)), [Some(before), None], "{is_again}");
    }
}

#[test]
fn a_source_that_is_deleted_stops_at_once_and_one_that_comes_back_is_taken_over_anew() {
    let mut world = World::opened();
    world.push(4);
    world.publish(false);
    assert_eq!(world.turn(), (Some(vec![]), 0, 0, 0));
    world.push(5);
    assert!(world.planned().is_empty() && world.intake.turn_of(Epoch(3), Now::read().instant).is_none());
    world.publish(true);
    assert_eq!(world.turn(), (topics(), 0, 0, 1), "the partition may never have gone");
}

#[test]
fn what_is_held_says_why_and_is_tried_at_once_when_its_source_changes() {
    let mut world = World::new();
    world.publish(true);
    world.turn();
    let why = KafkaError::NoTopic { topic: Arc::from(TOPIC) };
    world.intake.hold(&lease(), &why, Now::read());
    assert_eq!(world.turn(), (None, 0, 0, 0), "nothing has changed");
    assert_eq!(world.state(), Some((SourcePartitionState::Failing, Some("topic_missing".to_owned()))));
    world.source.name = "two".to_owned();
    world.publish(true);
    assert_eq!(world.turn(), (None, 0, 0, 1));
    world.intake.closed(&lease());
    assert_eq!(world.state(), None);
}

/// A partition whose record at 4 has failed.
fn failing() -> World {
    let mut world = World::opened();
    world.fail(4);
    world
}

const RUNNING: Option<(SourcePartitionState, Option<String>)> = Some((SourcePartitionState::Running, None));
const PAUSED: Option<(SourcePartitionState, Option<String>)> = Some((SourcePartitionState::Paused, None));

fn unknown_application() -> Option<(SourcePartitionState, Option<String>)> {
    Some((SourcePartitionState::Failing, Some("unknown_application".to_owned())))
}

#[test]
fn what_a_source_itself_names_and_is_not_there_holds_its_partition_until_it_is_tried_again() {
    let mut world = failing();
    assert_eq!(world.turn(), (None, 1, 0, 1), "what was read beyond it is given back");
    assert!(world.planned().is_empty() && world.intake.turn_of(Epoch(3), Now::read().instant).is_none());
    world.reopen();
    assert_eq!(world.turn(), (None, 1, 0, 0), "and nothing is read meanwhile");
    assert_eq!((world.queue.len(), world.state()), (0, unknown_application()));
    assert_eq!(world.turn_later(), (None, 0, 1, 0));
    world.push(4);
    assert_eq!((world.planned(), world.state()), (vec![4], unknown_application()), "nobody knows yet");
    world.commit(4);
    assert_eq!(world.state(), RUNNING);
}

#[test]
fn what_fails_again_waits_again_and_a_change_of_its_source_tries_it_at_once() {
    let mut world = failing();
    world.turn();
    world.reopen();
    world.turn();
    world.turn_later();
    world.fail(4);
    assert_eq!(world.turn_later(), (None, 1, 0, 1), "it waits longer each time");
    world.source.name = "two".to_owned();
    world.publish(true);
    assert_eq!(world.turn(), (None, 0, 0, 0), "it is on its way");
    world.reopen();
    assert_eq!(world.turn(), (None, 0, 0, 0));
    world.push(4);
    assert_eq!((world.planned(), world.state()), (vec![4], RUNNING));
}

#[test]
fn what_is_committed_before_the_record_that_fails_says_nothing_of_it() {
    let mut world = failing();
    world.commit(3);
    assert_eq!(world.state(), unknown_application(), "3 was planned before 4 failed");
    world.turn();
    world.commit(3);
    world.reopen();
    assert_eq!(world.state(), unknown_application());
    assert_eq!(world.turn_later(), (None, 0, 0, 0));
    world.push(4);
    assert_eq!(world.planned(), [4]);
    world.commit(4);
    assert_eq!(world.state(), RUNNING);
}

#[test]
fn a_change_of_a_paused_source_that_fails_releases_nothing() {
    let mut world = failing();
    world.source.is_paused = true;
    world.publish(true);
    world.turn();
    world.reopen();
    world.source.name = "two".to_owned();
    world.publish(true);
    world.turn();
    world.push(4);
    assert_eq!((world.planned(), world.state()), (vec![], PAUSED));
}

#[test]
fn what_is_paused_gives_back_what_it_has_read_and_is_known_to_wait_as_long() {
    let mut world = World::opened();
    world.push(4);
    world.source.is_paused = true;
    world.publish(true);
    assert_eq!(world.turn(), (None, 1, 0, 1));
    world.reopen();
    assert_eq!((world.turn(), world.queue.len(), world.state()), ((None, 1, 0, 0), 0, PAUSED));
    let health = health::of(&world.intake, &world.queue, &Measured::default());
    let partition = &health.of.values().next().unwrap().topics[TOPIC].partitions[&0];
    assert_eq!(partition.oldest_ms, Some(1));
    world.source.is_paused = false;
    world.publish(true);
    assert_eq!(world.turn(), (None, 0, 1, 0));
    world.push(4);
    assert_eq!((world.planned(), world.state()), (vec![4], RUNNING));
}

#[test]
fn a_move_that_comes_while_a_partition_is_taken_over_is_followed() {
    let mut world = World::new();
    world.publish(true);
    world.turn();
    let position = PositionClaim { id: Uuid::from_u128(5), source: Uuid::from_u128(1), handled: Handled::nothing() };
    let found = World::found(Some(position), Some(60));
    assert_eq!(world.intake.begins(&found, Now::read()).unwrap(), (60, None));
    let position_id = PositionId(Uuid::from_u128(6));
    let moved = TopicStart { topic_id: TOPIC_ID, position_id, again: false, offsets: vec![40] };
    world.source.starts.insert(TOPIC.to_owned(), moved);
    world.publish(true);
    world.intake.opened(&lease(), SourcePlace::of(&found, 60), &mut world.queue, Now::read());
    assert_eq!(world.turn(), (None, 0, 0, 1));
    assert!(world.intake.turn_of(Epoch(3), Now::read().instant).is_none());
}

#[test]
fn what_is_committed_of_a_partition_whose_source_is_gone_forgets_nothing_that_was_handled() {
    let mut world = World::new();
    let handled = Handled::nothing().with(10, 60);
    let position = PositionClaim { id: Uuid::from_u128(5), source: Uuid::from_u128(1), handled };
    let found = World::found(Some(position.clone()), Some(60));
    world.intake.opened(&lease(), SourcePlace::of(&found, 60), &mut world.queue, Now::read());
    let part = Part { lease: lease(), records: 0, bytes: 0, committed: 70 };
    assert_eq!(world.intake.claims(&[part]), [Claimed::Position(position)]);
}

#[test]
fn what_was_rejected_is_not_handled_where_its_source_is_moved_back_until_it_is_accepted() {
    let mut world = World::new();
    world.publish(true);
    world.turn();
    let handled = Handled::nothing().with(0, 60);
    let position = PositionClaim { id: Uuid::from_u128(5), source: Uuid::from_u128(1), handled };
    let mut found = World::found(Some(position), Some(60));
    let mut commit = |found: &Restored, start: i64, judged: &[(i64, EventVerdict)], committed: i64| {
        world.intake.opened(&lease(), SourcePlace::of(found, start), &mut world.queue, Now::read());
        for (offset, verdict) in judged {
            let headers = Headers::default();
            let record = Record { offset: *offset, timestamp_ms: 1, key: None, value: None, headers };
            world.intake.judged(Epoch(3), &Note { record, verdict: *verdict, id: None, stood: None, written: None });
        }
        let part = Part { lease: lease(), records: 0, bytes: 0, committed };
        let claims = world.intake.claims(&[part]);
        world.intake.closed(&lease());
        let [Claimed::Position(position)] = &claims[..] else { panic!("{claims:?}") };
        position.clone()
    };
    let rejected = EventVerdict::Rejected(schemas::rejected::RejectReason::Unmapped);
    let matched = EventVerdict::Matched(1);
    let judged = [(60, matched), (61, rejected), (62, EventVerdict::Skipped("tombstone")), (63, rejected)];
    let said = commit(&found, 60, &judged, 64);
    let is_handled = [59, 60, 61, 62, 63, 64].map(|offset| said.handled.contains(offset));
    assert_eq!(is_handled, [true, true, false, true, false, false]);
    // It is moved back, and the mapping is mended for one of them.
    found.position = Some(said);
    let said = commit(&found, 0, &[(61, matched), (63, rejected)], 64);
    assert_eq!([61, 63].map(|offset| said.handled.contains(offset)), [true, false]);
}

#[test]
fn a_batch_that_was_not_written_leaves_what_was_rejected_as_it_was() {
    let mut world = World::new();
    world.publish(true);
    world.turn();
    let mut handled = Handled::nothing().with(0, 60);
    handled.judge(15, true);
    let position = PositionClaim { id: Uuid::from_u128(5), source: Uuid::from_u128(1), handled };
    let found = World::found(Some(position), Some(10));
    world.intake.opened(&lease(), SourcePlace::of(&found, 10), &mut world.queue, Now::read());
    let accepted = |world: &mut World, offset| {
        let record = Record { offset, timestamp_ms: 1, key: None, value: None, headers: Headers::default() };
        world.intake.judged(
            Epoch(3),
            &Note { record, verdict: EventVerdict::Matched(1), id: None, stood: None, written: None },
        );
    };
    let was_fanned_out = |world: &mut World, committed| {
        let claims = world.intake.claims(&[Part { lease: lease(), records: 0, bytes: 0, committed }]);
        let [Claimed::Position(position)] = &claims[..] else { panic!("{claims:?}") };
        position.handled.contains(15)
    };
    accepted(&mut world, 15);
    assert!(was_fanned_out(&mut world, 20));
    world.intake.unsealed();
    accepted(&mut world, 12);
    assert!(!was_fanned_out(&mut world, 13), "a smaller batch ends before it");
    world.intake.written();
    accepted(&mut world, 15);
    world.intake.written();
    world.intake.unsealed();
    assert!(was_fanned_out(&mut world, 20), "what is written stays");
}

#[test]
fn a_record_that_needs_a_schema_waits_for_it_and_goes_on_at_once_when_it_is_here_or_known_not_to_be() {
    let unusable = || RegistryAnswer::Unusable("it is odd".to_owned());
    for answer in [found_schema(), RegistryAnswer::NotFound, unusable()] {
        let mut world = World::opened();
        world.push(4);
        world.awaits();
        assert_eq!(world.turn(), (None, 0, 0, 0), "the registry is being asked");
        assert_eq!((world.planned(), world.state()), (vec![], waiting()));
        world.told(answer);
        assert_eq!(world.turn(), (None, 0, 0, 0));
        assert_eq!((world.planned(), world.state()), (vec![4], RUNNING));
        assert!(!world.intake.has_news());
    }
}

#[test]
fn while_a_registry_gives_no_answer_its_partition_stands_still_keeps_no_credit_and_goes_on_when_the_schema_is_here() {
    let mut world = World::opened();
    world.push(4);
    world.awaits();
    world.told(no_answer());
    assert_eq!(world.turn(), (None, 1, 0, 1), "what was read with it is let go of");
    assert_eq!(world.turn(), (None, 0, 0, 0), "once");
    world.reopen();
    assert_eq!((world.turn(), world.state()), ((None, 1, 0, 0), waiting()));
    let told = world.intake.tell(&world.queue, &Measured::default(), Now::read());
    assert_eq!((told.waiting, told.failing, told.registries_up.into_values().collect()), (1, 0, vec![false]));
    let health = health::of(&world.intake, &world.queue, &Measured::default());
    let partition = &health.of.values().next().unwrap().topics[TOPIC].partitions[&0];
    let detail = &partition.failure.as_ref().unwrap().detail;
    assert!(detail.contains("schema 7") && detail.contains("http://r/schemas/ids/7 answered 503"), "{detail}");
    world.told(no_answer());
    assert_eq!(world.turn(), (None, 0, 0, 0));
    world.told(found_schema());
    assert_eq!(world.turn(), (None, 0, 1, 0));
    world.push(4);
    assert_eq!((world.planned(), world.state()), (vec![4], RUNNING));
    let told = world.intake.tell(&world.queue, &Measured::default(), Now::read());
    assert_eq!((told.waiting, told.registries_up.into_values().collect()), (0, vec![true]));
}

#[test]
fn a_registry_that_is_known_to_be_down_holds_nothing_in_memory_and_an_answer_before_the_takeover_counts() {
    let mut world = World::new();
    world.told(no_answer());
    world.publish(true);
    world.turn();
    world.open();
    world.push(4);
    world.awaits();
    assert!(world.intake.has_news());
    assert_eq!(world.turn(), (None, 1, 0, 1));
    world.told(found_schema());
    assert_eq!(world.turn(), (None, 0, 0, 0), "it is being given up");
    world.reopen();
    assert_eq!((world.turn(), world.state()), ((None, 0, 0, 0), RUNNING));
}

#[test]
fn another_definition_does_not_wait_for_what_the_former_one_needed() {
    let mut world = World::opened();
    world.push(4);
    world.awaits();
    world.source.name = "two".to_owned();
    world.publish(true);
    world.turn();
    assert_eq!((world.planned(), world.state()), (vec![4], RUNNING));

    world.push(5);
    world.awaits();
    world.told(no_answer());
    world.turn();
    world.reopen();
    world.turn();
    assert_eq!(world.state(), waiting());
    world.source.name = "three".to_owned();
    world.publish(true);
    assert_eq!((world.turn(), world.state()), ((None, 0, 1, 0), RUNNING));
}

#[test]
fn a_schema_that_comes_or_a_change_while_a_source_is_paused_releases_nothing() {
    for is_change in [false, true] {
        let mut world = World::opened();
        world.push(4);
        world.awaits();
        world.source.is_paused = true;
        world.publish(true);
        assert_eq!(world.turn(), (None, 1, 0, 1));
        if is_change {
            world.source.name = "two".to_owned();
            world.publish(true);
        } else {
            world.told(found_schema());
        }
        world.turn();
        assert!(world.planned().is_empty());
        world.reopen();
        world.turn();
        assert_eq!((world.planned(), world.state()), (vec![], PAUSED));
        world.source.is_paused = false;
        world.publish(true);
        assert_eq!(world.turn(), (None, 0, 1, 0));
        world.push(4);
        assert_eq!((world.planned(), world.state()), (vec![4], RUNNING));
    }
}
