//! Events for more subscriptions than one transaction writes: whoever dies where, each of them has the event once.

use super::*;

const MATCHES: usize = 35;
const SLICE: usize = 10;

/// So many subscriptions to `order.*`, whose ids are not in the order of the objects.
pub(super) fn subscriptions(numbers: impl Iterator<Item = u128>) -> Vec<ControlObject> {
    let mut numbers: Vec<u128> = numbers.collect();
    numbers.sort_by_key(|number| number.wrapping_mul(0x9e37_79b9) % 1_009);
    numbers.into_iter().map(|number| subscription(number, "order.*", &[])).collect()
}

/// A worker with slices of ten and a catalog with these.
pub(super) fn world(objects: Vec<ControlObject>) -> World {
    let mut world = World::of(with(objects));
    world.planner.limits = EventLimits { matches: 1_000, bytes: 1 << 30, slice_records: SLICE, slice_bytes: 1 << 20 };
    world
}

pub(super) fn order(offset: i64, payload: usize) -> Record {
    let record = event(offset, &format!("evt_{offset}"), &[(header::CE_TYPE, "order.placed")]);
    Record { value: Some(vec![b'1'; payload].into()), ..record }
}

/// What one transaction says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    receivers: Vec<u128>,
    /// Kind and count of each lifecycle record.
    told: Vec<(Kind, Option<u32>)>,
    identities: usize,
    committed: i64,
}

fn written(world: &mut World) -> Written {
    let (outputs, progress) = world.commit();
    let of = |topic: &str| outputs.get(topic).into_iter().flatten();
    let key = |record: &OutRecord| Uuid::try_parse_ascii(record.key.as_ref().unwrap()).unwrap().as_u128();
    let told = of("hookbus.attempts").map(lifecycle);
    Written {
        receivers: of("hookbus.deliveries").map(key).collect(),
        told: told.map(|told| (told.kind, told.event.map(|facts| facts.matched))).collect(),
        identities: of("hookbus.seen").map(|seen| seen::decode(seen.value.as_ref().unwrap()).unwrap().count()).sum(),
        committed: progress.first().map_or(-1, |progress| progress.committed),
    }
}

/// Plans the record until it is done, a transaction for each slice. Before the slice of this number, counted from 0, `meanwhile` may
/// do something to the worker.
pub(super) fn fan_out(
    world: &mut World,
    record: Record,
    mut meanwhile: impl FnMut(usize, &mut World),
) -> (EventVerdict, Vec<Written>) {
    let epoch = lease(0).epoch;
    let (mut record, mut all) = (record, Vec::new());
    // It is admitted when it is done; its offset stands before.
    world.outbox.open(&lease(0), Window::restore(record.offset, record.offset, Vec::new()), record.offset);
    loop {
        match world.try_plan(0, record) {
            Tried::Done(verdict) => {
                all.push(written(world));
                return (verdict, all);
            }
            Tried::Slice(again) => {
                all.push(written(world));
                world.planner.slice_committed(epoch);
                meanwhile(all.len(), world);
                record = again;
            }
            Tried::Aside(again) | Tried::Later(again) => record = again,
        }
    }
}

/// Another process: it has the catalog and what the commits say.
pub(super) fn restart(world: &mut World) {
    let catalog = world.catalog.clone();
    let (written, limits, seen) = (world.written, world.planner.limits, std::mem::take(&mut world.seen));
    let identities = world.identities.clone();
    *world = World { written, seen, identities, ..World::of(catalog) };
    world.planner.limits = limits;
    world.outbox.open(&lease(0), Window::restore(7, 7, Vec::new()), 7);
}

pub(super) fn receivers(all: &[Written]) -> Vec<u128> {
    all.iter().flat_map(|one| one.receivers.clone()).collect()
}

#[test]
fn a_wide_event_is_written_in_slices_in_the_order_of_ids_and_ends_with_one_lifecycle_record() {
    let mut world = world(subscriptions(100..100 + MATCHES as u128));
    let (verdict, all) = fan_out(&mut world, order(7, 10), |_, _| {});
    assert_eq!(verdict, EventVerdict::Matched(MATCHES));
    assert_eq!(receivers(&all), (100..100 + MATCHES as u128).collect::<Vec<_>>());
    assert_eq!(all.iter().map(|one| one.receivers.len()).collect::<Vec<_>>(), [10, 10, 10, 5, 0]);
    let told: Vec<_> = all.iter().flat_map(|one| one.told.clone()).collect();
    assert_eq!(told, [(Kind::Matched, Some(35))]);
    assert_eq!(all.iter().map(|one| one.committed).collect::<Vec<_>>(), [7, 7, 7, 7, 8], "the offset stays");
    assert_eq!(all.iter().map(|one| one.identities).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
    assert_eq!(world.plan(0, Record { offset: 8, ..order(7, 10) }), EventVerdict::Repeat);
    assert!(world.planner.sliced.is_empty(), "nothing is kept of it");
}

#[test]
fn whoever_restarts_after_any_slice_goes_on_above_it() {
    for killed_after in [vec![1], vec![2], vec![3], vec![4], vec![1, 2, 3, 4], vec![2, 4]] {
        let mut world = world(subscriptions(100..100 + MATCHES as u128));
        let (verdict, all) = fan_out(&mut world, order(7, 10), |slice, world| {
            if killed_after.contains(&slice) {
                restart(world);
            }
        });
        assert_eq!(verdict, EventVerdict::Matched(MATCHES), "{killed_after:?}");
        assert_eq!(receivers(&all), (100..100 + MATCHES as u128).collect::<Vec<_>>(), "{killed_after:?}");
        let told: Vec<_> = all.iter().flat_map(|one| one.told.clone()).collect();
        assert_eq!(told, [(Kind::Matched, Some(35))], "{killed_after:?}");
        assert_eq!(all.last().unwrap().committed, 8);
    }
}

/// The record that puts an object, or takes it away.
fn control(number: u128, is_there: bool) -> OutRecord {
    let object = subscription(number, "order.*", &[]);
    let value = is_there.then(|| object.encode().unwrap().into());
    OutRecord {
        topic: Arc::from("control"),
        partition: None,
        key: Some(object.key().to_string().into()),
        value,
        headers: Headers::default(),
    }
}

#[test]
fn a_snapshot_stands_until_the_last_slice_and_whoever_restarts_takes_that_of_then() {
    for restarts in [false, true] {
        // Every other number: there is room between.
        let mut world = world(subscriptions((100..200).step_by(2)));
        let mut expected: Vec<u128> = (100..200).step_by(2).collect();
        let (verdict, all) = fan_out(&mut world, order(7, 10), |slice, world| {
            if slice == 2 {
                // Below what is written, above it, and one that goes.
                let changes = [control(101, true), control(171, true), control(180, false), control(102, false)];
                world.catalog.feed(changes);
                if restarts {
                    restart(world);
                }
            }
        });
        if restarts {
            expected.retain(|number| *number != 180);
            expected.push(171);
            expected.sort_unstable();
        }
        assert_eq!(receivers(&all), expected, "{restarts}");
        assert_eq!(verdict, EventVerdict::Matched(expected.len()), "{restarts}");
    }
}

#[test]
fn filters_are_asked_some_at_a_time_and_others_are_planned_between() {
    let numbers = || 100..2_300_u128;
    let filtered = |number: u128| {
        let ControlObject::Subscription(mut object) = subscription(number, "order.*", &[]) else { unreachable!() };
        object.filter = Some(if number.is_multiple_of(100) { "data == 1" } else { "data == 2" }.to_owned());
        ControlObject::Subscription(object)
    };
    let mut world = world(numbers().map(filtered).collect());
    world.hurry = true;
    let (mut record, mut steps, mut all) = (order(7, 1), 0, Vec::new());
    world.outbox.open(&lease(0), Window::restore(7, 7, Vec::new()), 7);
    let verdict = loop {
        match world.try_plan(0, record) {
            Tried::Done(verdict) => break verdict,
            Tried::Later(again) => {
                steps += 1;
                record = again;
                let id = format!("beside-{steps}");
                assert_eq!(world.plan(1, event(steps, &id, &[])), EventVerdict::Matched(1));
                assert_eq!(world.commit().1[0].lease, lease(1), "nothing of the wide one");
            }
            Tried::Slice(again) => {
                record = again;
                all.push(written(&mut world));
                world.planner.slice_committed(lease(0).epoch);
            }
            Tried::Aside(_) => panic!("its partition waits, others do not"),
        }
    };
    // Each filter is compiled, which takes its time: some fifty are a step's worth, though the time is over when it begins.
    assert!((40..50).contains(&steps), "{steps} steps");
    let expected: Vec<u128> = numbers().filter(|number| number.is_multiple_of(100)).collect();
    assert_eq!((verdict, receivers(&all)), (EventVerdict::Matched(expected.len()), expected));
}

#[test]
fn many_candidates_of_which_few_match_are_one_transaction() {
    let filtered = |number: u128| {
        let ControlObject::Subscription(mut object) = subscription(number, "order.*", &[]) else { unreachable!() };
        object.filter = Some(format!("data == {}", number % 20));
        ControlObject::Subscription(object)
    };
    let mut world = world((100..200).map(filtered).collect());
    let (verdict, all) = fan_out(&mut world, order(7, 1), |_, _| {});
    assert_eq!((verdict, all.len()), (EventVerdict::Matched(5), 1));
    assert_eq!((all[0].receivers.len(), all[0].committed, all[0].identities), (5, 8, 1));
}

#[test]
fn a_slice_has_so_many_bytes_and_one_delivery_at_least() {
    for (payload, sizes) in [(400_000, vec![2, 2, 1, 0]), (1_000_000, vec![1, 1, 1, 1, 1, 0])] {
        let mut world = world(subscriptions(100..105));
        let (verdict, all) = fan_out(&mut world, order(7, payload), |_, _| {});
        assert_eq!(verdict, EventVerdict::Matched(5));
        assert_eq!(all.iter().map(|one| one.receivers.len()).collect::<Vec<_>>(), sizes, "{payload}");
    }
}

#[test]
fn too_many_are_refused_before_the_first_slice_and_never_after_it() {
    let limit = |world: &mut World, matches| world.planner.limits.matches = matches;
    let mut world = world(subscriptions(100..100 + MATCHES as u128));
    limit(&mut world, MATCHES - 1);
    let (verdict, all) = fan_out(&mut world, order(7, 10), |_, _| {});
    assert_eq!((verdict, all.len()), (EventVerdict::Rejected(RejectReason::TooManyMatches), 1));
    assert!(all[0].receivers.is_empty() && all[0].committed == 8);
    let mut world = self::world(subscriptions(100..100 + MATCHES as u128));
    let (verdict, all) = fan_out(&mut world, order(7, 10), |slice, world| {
        if slice == 1 {
            limit(world, 5);
            restart(world);
        }
    });
    assert_eq!((verdict, receivers(&all).len()), (EventVerdict::Matched(MATCHES), MATCHES));
}

/// What was accepted is accepted: neither its own identity nor another rule for its type ends it half way.
#[test]
fn an_event_that_is_written_in_part_is_not_judged_again() {
    let mut world = world(subscriptions(100..100 + MATCHES as u128));
    let (verdict, all) = fan_out(&mut world, order(7, 10), |slice, world| {
        if slice == 2 {
            let id = identity::event_uuid(ApplicationId(Uuid::from_u128(1)), "/billing", "evt_7").into_bytes();
            world.seen.get_mut(&0).unwrap().insert(id, NOW_MS);
            let object = application(1, "shop", UnknownEventTypes::Reject);
            let (key, value) = (object.key().to_string().into(), object.encode().unwrap().into());
            world.catalog.feed([OutRecord { key: Some(key), value: Some(value), ..control(1, true) }]);
            restart(world);
        }
    });
    assert_eq!((verdict, receivers(&all).len()), (EventVerdict::Matched(MATCHES), MATCHES));
}

#[test]
fn an_event_whose_application_goes_half_way_says_how_many_have_it() {
    let mut world = world(subscriptions(100..100 + MATCHES as u128));
    let object = application(1, "shop", UnknownEventTypes::Accept);
    let mut details = Vec::new();
    let mut record = order(7, 10);
    world.outbox.open(&lease(0), Window::restore(7, 7, Vec::new()), 7);
    let verdict = loop {
        match world.try_plan(0, record) {
            Tried::Done(verdict) => break verdict,
            Tried::Slice(again) => record = again,
            tried @ (Tried::Aside(_) | Tried::Later(_)) => panic!("{tried:?}"),
        }
        world.commit();
        let key = Some(object.key().to_string().into());
        world.catalog.feed([OutRecord { key, value: None, ..control(1, true) }]);
        restart(&mut world);
    };
    let (outputs, _) = world.commit();
    details.extend(outputs["hookbus.rejected"][0].headers.text(header::DETAIL).map(str::to_owned));
    assert_eq!(verdict, EventVerdict::Rejected(RejectReason::UnknownApplication));
    assert!(details[0].ends_with("; 10 of its deliveries were written before"), "{details:?}");
}

#[test]
fn of_a_slice_that_is_not_committed_nothing_is_made_twice() {
    let mut world = world(subscriptions(100..100 + MATCHES as u128));
    world.outbox.open(&lease(0), Window::restore(7, 7, Vec::new()), 7);
    let Tried::Slice(record) = world.try_plan(0, order(7, 10)) else { panic!("35 in slices of 10") };
    let seen = world.seen.get_mut(&0).unwrap();
    let (catalog, now) = (&world.catalog, world.now);
    let mut turn =
        Turn { catalog, seen, source: None, retried: None, written: None, now_ms: NOW_MS, now, is_over: &|| false };
    let planned = world.planner.plan(&mut turn, &lease(0), record);
    assert!(matches!(planned, Planned::UnderWay(_)), "{planned:?}");
    // Whoever judges it anew meanwhile does so from where it is, once it is there.
    world.planner.forget_event(lease(0).epoch);
    let Planned::UnderWay(record) = planned else { unreachable!() };
    assert_eq!(written(&mut world).receivers, (100..110).collect::<Vec<_>>());
    world.planner.slice_committed(lease(0).epoch);
    assert!(world.planner.sliced.is_empty());
    let Tried::Slice(_) = world.try_plan(0, record) else { panic!("the next ten") };
    assert_eq!(written(&mut world).receivers, (110..120).collect::<Vec<_>>());
}

#[test]
fn more_than_one_run_is_merged_in_order() {
    let mut world = world(subscriptions(1_000..21_000));
    world.planner.limits = EventLimits { matches: 100_000, bytes: 1 << 30, slice_records: 2_000, slice_bytes: 1 << 24 };
    world.hurry = true;
    let (verdict, all) = fan_out(&mut world, order(7, 10), |_, _| {});
    assert_eq!(verdict, EventVerdict::Matched(20_000));
    assert_eq!(receivers(&all), (1_000..21_000).collect::<Vec<_>>());
    assert_eq!(all.len(), 11);
}
