//! The cache in planted time.

use sources::schema::{RegisteredSchema, SchemaId, SchemaKind};
use uuid::Uuid;

use super::*;
use crate::knowledge::{NOT_FOUND_FOR, UNUSABLE_FOR, WAIT_FLOOR};

/// A table, and a time that only the test moves.
struct World {
    table: SchemaTable,
    now: Instant,
}

impl World {
    fn new(limits: CacheLimits) -> Self {
        Self { table: SchemaTable::new(limits), now: chassis::clock::instant() }
    }

    fn want(&mut self, key: SchemaKey) {
        self.table.want(key, self.now);
    }

    fn ask(&mut self) -> Vec<SchemaQuestion> {
        self.table.ask(self.now)
    }

    fn end(&mut self, question: SchemaQuestion, answer: RegistryAnswer<Arc<CompiledSchema>>) -> bool {
        self.table.end(question, answer, (self.now, 0.0))
    }

    /// Wants a schema, and answers the one question that follows.
    fn learn(&mut self, key: SchemaKey, answer: RegistryAnswer<Arc<CompiledSchema>>) {
        self.want(key);
        let [question] = self.ask()[..] else { panic!("one question") };
        assert!(self.end(question, answer));
    }

    fn word(&mut self, key: SchemaKey) -> &'static str {
        match self.table.state(&key, self.now) {
            SchemaState::Ready(_) => "ready",
            SchemaState::Wanted => "wanted",
            SchemaState::NotFound => "not found",
            SchemaState::Unusable(_) => "unusable",
        }
    }
}

fn limits() -> CacheLimits {
    CacheLimits::default()
}

fn key(registry: u128, id: u32) -> SchemaKey {
    SchemaKey { registry: SchemaRegistryId(Uuid::from_u128(registry)), id: SchemaId::Number(id) }
}

fn ready() -> RegistryAnswer<Arc<CompiledSchema>> {
    let text = r#"{"type":"record","name":"a.B","fields":[{"name":"id","type":"long"}]}"#.to_owned();
    let registered = RegisteredSchema { kind: SchemaKind::Avro, text, references: Vec::new() };
    RegistryAnswer::Found(Arc::new(CompiledSchema::compile(&registered, None).unwrap()))
}

fn lost() -> RegistryAnswer<Arc<CompiledSchema>> {
    RegistryAnswer::Unavailable("GET http://r/ answered 503".to_owned())
}

#[test]
fn a_schema_is_asked_for_once_however_many_wait_and_is_kept() {
    let mut world = World::new(limits());
    assert_eq!(world.word(key(1, 7)), "wanted");
    assert!(world.ask().is_empty(), "looking is not asking");
    for _ in 0..3 {
        world.want(key(1, 7));
    }
    let [question] = world.ask()[..] else { panic!("one question") };
    world.want(key(1, 7));
    assert!(world.ask().is_empty());
    assert!(world.end(question, ready()));
    assert!(!world.end(question, lost()), "it was answered");
    assert_eq!((world.word(key(1, 7)), world.table.next(world.now)), ("ready", None));
    world.want(key(1, 7));
    assert!(world.ask().is_empty());
}

#[test]
fn a_registry_without_an_answer_is_asked_later_says_why_and_is_down() {
    let mut world = World::new(limits());
    world.learn(key(1, 7), lost());
    assert_eq!(world.word(key(1, 7)), "wanted");
    assert_eq!(world.table.why(&key(1, 7)).as_deref(), Some("GET http://r/ answered 503"));
    assert_eq!(world.table.up().values().copied().collect::<Vec<_>>(), [false]);
    assert!(world.ask().is_empty());
    let next = world.table.next(world.now).unwrap();
    assert_eq!(next, world.now + WAIT_FLOOR);
    world.now = next;
    let [question] = world.ask()[..] else { panic!("one question") };
    assert!(world.end(question, ready()));
    assert_eq!((world.word(key(1, 7)), world.table.why(&key(1, 7))), ("ready", None));
    assert_eq!(world.table.up().values().copied().collect::<Vec<_>>(), [true]);
}

#[test]
fn who_waits_for_another_schema_of_a_registry_goes_on_when_it_is_back() {
    let mut world = World::new(limits());
    for _ in 0..6 {
        world.want(key(1, 7));
        world.now = world.table.next(world.now).unwrap_or(world.now);
        let [question] = world.ask()[..] else { panic!("one question") };
        world.end(question, lost());
    }
    assert!(world.table.next(world.now).unwrap() > world.now + WAIT_FLOOR * 10);
    world.learn(key(1, 8), ready());
    assert_eq!(world.ask().iter().map(|it| it.key).collect::<Vec<_>>(), [key(1, 7)]);
}

#[test]
fn a_few_are_asked_at_once_and_one_registry_leaves_room_for_others() {
    let mut world = World::new(limits());
    for id in 0..40 {
        world.want(key(1, id));
    }
    world.want(key(2, 1));
    let first = world.ask();
    let of = |questions: &[SchemaQuestion], registry| {
        questions.iter().filter(|it| it.key.registry == key(registry, 0).registry).count()
    };
    assert_eq!((of(&first, 1), of(&first, 2)), (FETCHES_OF_ONE, 1));
    assert_eq!(world.table.next(world.now), None, "what is due waits for an answer, not for a time");
    world.end(first[0], ready());
    assert_eq!(of(&world.ask(), 1), 1);
    for registry in 3..10 {
        (0..9).for_each(|id| world.want(key(registry, id)));
    }
    assert_eq!(world.ask().len(), FETCHES - FETCHES_OF_ONE - 1);
}

#[test]
fn a_registry_without_an_answer_is_asked_one_question_at_a_time_and_leaves_room_for_others() {
    let mut world = World::new(limits());
    for registry in 1..=4 {
        world.learn(key(registry, 0), lost());
    }
    for registry in 1..=4 {
        (1..9).for_each(|id| world.want(key(registry, id)));
    }
    assert!(world.table.is_unavailable(&key(1, 1)), "before it is asked for");
    let asked = world.ask();
    let mut registries: Vec<SchemaKey> = asked.iter().map(|it| it.key).collect();
    registries.dedup_by_key(|key| key.registry);
    assert_eq!((asked.len(), registries.len()), (4, 4), "one of each");
    for registry in 5..15 {
        (0..9).for_each(|id| world.want(key(registry, id)));
    }
    assert!(!world.table.is_unavailable(&key(5, 0)));
    assert_eq!(world.ask().len(), FETCHES - 4);
    world.end(asked[0], ready());
    assert!(!world.table.is_unavailable(&key(1, 2)), "it is back");
}

#[test]
fn what_is_not_there_is_known_for_half_a_minute_and_asked_anew_once_then() {
    let mut world = World::new(CacheLimits { grace: Duration::ZERO, ..limits() });
    world.learn(key(1, 7), RegistryAnswer::NotFound);
    assert_eq!(world.word(key(1, 7)), "not found");
    world.want(key(1, 7));
    assert!(world.ask().is_empty());
    world.now += NOT_FOUND_FOR;
    assert_eq!(world.word(key(1, 7)), "wanted");
    world.learn(key(1, 7), RegistryAnswer::NotFound);
    assert_eq!(world.word(key(1, 7)), "not found");
    world.learn(key(1, 8), RegistryAnswer::Unusable("odd".to_owned()));
    assert_eq!(world.word(key(1, 8)), "unusable");
    world.now += UNUSABLE_FOR;
    world.learn(key(1, 8), ready());
    assert_eq!(world.word(key(1, 8)), "ready");
}

#[test]
fn what_was_missing_long_ago_may_be_late_again() {
    let mut world = World::new(limits());
    let key = key(1, 7);
    world.want(key);
    while world.word(key) == "wanted" {
        let [question] = world.ask()[..] else { panic!("one question") };
        world.end(question, RegistryAnswer::NotFound);
        world.now = world.table.next(world.now).unwrap_or(world.now);
    }
    world.now += NOT_FOUND_FOR + Duration::from_secs(1);
    world.learn(key, RegistryAnswer::NotFound);
    assert_eq!(world.word(key), "not found", "it was late for long enough");
    world.now += Duration::from_secs(600);
    world.learn(key, RegistryAnswer::NotFound);
    assert_eq!(world.word(key), "wanted", "a registry's follower may lag");
    world.now = world.table.next(world.now).unwrap();
    let [question] = world.ask()[..] else { panic!("one question") };
    world.end(question, ready());
    assert_eq!(world.word(key), "ready");
}

#[test]
fn the_oldest_leave_when_there_are_too_many_or_they_take_too_much() {
    let mut world = World::new(CacheLimits { schemas: 2, ..limits() });
    for id in 1..=2 {
        world.learn(key(1, id), ready());
    }
    assert_eq!(world.word(key(1, 1)), "ready");
    world.learn(key(1, 3), ready());
    assert_eq!([1, 2, 3].map(|id| world.word(key(1, id))), ["ready", "wanted", "ready"]);

    let RegistryAnswer::Found(schema) = ready() else { panic!("a schema") };
    let each = schema.weight() + ENTRY;
    let mut world = World::new(CacheLimits { bytes: 3 * each, ..limits() });
    for id in 1..=5 {
        world.learn(key(1, id), ready());
        assert!(world.table.bytes <= 3 * each);
    }
    assert_eq!([1, 2, 3, 4, 5].map(|id| world.word(key(1, id))), ["wanted", "wanted", "ready", "ready", "ready"]);
    let mut world = World::new(CacheLimits { bytes: each, ..limits() });
    world.learn(key(1, 1), ready());
    assert_eq!(world.word(key(1, 1)), "unusable");
}

#[test]
fn what_nobody_waits_for_any_more_is_not_asked_for() {
    let mut world = World::new(limits());
    world.learn(key(1, 7), lost());
    world.learn(key(1, 8), lost());
    world.now += FORGOTTEN_AFTER - Duration::from_millis(1);
    world.want(key(1, 8));
    world.now += Duration::from_millis(1);
    assert_eq!(world.ask().iter().map(|it| it.key).collect::<Vec<_>>(), [key(1, 8)]);
    assert_eq!(world.table.open.len(), 1);
}

#[test]
fn no_more_are_waited_for_than_there_is_room() {
    let mut world = World::new(limits());
    for id in 0..u32::try_from(MAX_OPEN).unwrap() + 5 {
        world.want(key(1, id));
    }
    assert_eq!(world.table.open.len(), MAX_OPEN);
}

#[test]
fn a_registry_that_is_another_one_now_is_asked_anew_at_once_and_former_answers_do_not_count() {
    let mut world = World::new(limits());
    world.learn(key(1, 1), ready());
    world.learn(key(2, 1), ready());
    world.learn(key(1, 2), lost());
    world.want(key(1, 3));
    let [former] = world.ask()[..] else { panic!("one question") };
    world.table.forget(key(1, 0).registry, false);
    assert_eq!((world.word(key(1, 1)), world.word(key(2, 1))), ("wanted", "ready"));
    let asked: Vec<SchemaKey> = world.ask().iter().map(|it| it.key).collect();
    assert_eq!(asked, [key(1, 2)], "nobody waits for the rest of a wait, and one question tells whether it is back");
    assert!(!world.end(former, ready()) && world.word(key(1, 3)) == "wanted");
    world.table.forget(key(1, 0).registry, true);
    assert!(!world.table.up().contains_key(&key(1, 0).registry));
    assert_eq!(world.table.bytes, world.table.known.iter().map(|(_, it)| it.bytes).sum::<usize>());
}

#[test]
fn who_names_another_missing_schema_in_each_record_is_not_waited_for_each_time() {
    let mut world = World::new(limits());
    let missing = |world: &mut World, id| {
        let began = world.now;
        world.want(key(1, id));
        while world.word(key(1, id)) == "wanted" {
            for question in world.ask() {
                world.end(question, RegistryAnswer::NotFound);
            }
            world.now += Duration::from_millis(500);
        }
        world.now.saturating_duration_since(began)
    };
    let waited: Vec<bool> = (0..10).map(|id| missing(&mut world, id) >= limits().grace).collect();
    assert_eq!(waited, [true, true, true, true, false, false, false, false, false, false]);
    // Another registry's are waited for, and its own again once it had one.
    world.learn(key(2, 1), RegistryAnswer::NotFound);
    assert_eq!(world.word(key(2, 1)), "wanted");
    world.learn(key(1, 100), ready());
    assert!(missing(&mut world, 101) >= limits().grace);
}
