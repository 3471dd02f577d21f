//! What this worker lacks itself: a key, what a connection needs, the network. Nothing is sent, and no attempt is made of it.

use std::collections::BTreeSet;

use schemas::delivery::Delivery;
use schemas::ids::DeliveryId;

use super::wire::Wire;
use super::world::{CAP, Endpoint, MINUTE, World};
use crate::classify::{AttemptVerdict, NoAnswer, unanswered};

#[test]
fn a_queue_that_cannot_be_sent_stays_in_its_list_and_a_probe_is_written_again_now_and_then() {
    for endpoint in [Endpoint::Unsigned, Endpoint::Unconnected] {
        let mut world = World::new(3, &[endpoint]);
        (0..1_000).for_each(|number| world.event(number, 0));
        let begin = world.now;
        world.wait_until(begin + 10 * MINUTE, MINUTE);
        let writes = world.scheduler.writes;
        assert!(writes <= u64::from(CAP) * 20, "{endpoint:?}: {writes} payloads written for one queue that waits");
        assert!(world.kafka.claim.unwrap().queued > 900, "{endpoint:?}: the others wait as offsets");
        assert_eq!(world.engine.open_circuits(), 0, "{endpoint:?}: nothing is known of the endpoint");
        world.heal();
        let healed = world.now;
        world.run_until_settled(1_000);
        assert!(world.now - healed < 2 * MINUTE, "{endpoint:?}: {} ms", world.now - healed);
    }
}

#[test]
fn one_that_cannot_be_sent_holds_no_neighbour_and_survives_restarts() {
    for seed in 0..20 {
        let mut world = World::new(seed, &[Endpoint::Fast, Endpoint::Unsigned, Endpoint::Unconnected]);
        world.refused_percent = 10;
        (0..300).for_each(|number| world.event(number, number % 3));
        world.run_until(100);
        let last = world.started[&crate::testing::subscription_id(0)];
        assert!(last < 1_000_000 + MINUTE, "seed {seed}: the healthy one was done after {} ms", last - 1_000_000);
        world.restart();
        let until = world.now + 2 * MINUTE;
        world.wait_until(until, MINUTE);
        world.revoke(seed % 2 == 0);
        world.heal();
        world.run_until_settled(300);
    }
}

/// As long as anything is answered each lane is held alone; else the worker is, and five probes a second tell when that is over.
#[test]
fn a_worker_that_lacks_what_every_connection_needs_is_held_as_a_whole() {
    let mut wire = Wire::new(|_| {});
    for number in 0..4 {
        wire.subscribe(number, &format!("https://{number}.example/"), 1, |_| {});
        wire.event(number);
    }
    wire.run(100, &mut |_, _| (AttemptVerdict::Delivered, 20));
    (0..400).for_each(|number| wire.event(number % 4));
    let mut lacking = |_, _| (unanswered(NoAnswer::Local), 1);
    wire.run(5_000, &mut lacking);
    assert!(wire.engine.is_held());
    let sent = |wire: &Wire| wire.sent.values().map(Vec::len).sum::<usize>();
    let before = sent(&wire);
    wire.run(60_000, &mut lacking);
    let probes = sent(&wire) - before;
    assert!((200..=301).contains(&probes), "{probes}");
    wire.run(2_000, &mut |_, _| (AttemptVerdict::Delivered, 20));
    let taken: usize = (0..4).map(|number| wire.taken_of(number)).sum();
    assert_eq!((wire.engine.is_held(), taken), (false, 404));
}

#[test]
fn what_cannot_leave_while_the_network_is_gone_uses_up_no_attempt() {
    let mut world = World::new(2, &[Endpoint::Fast; 4]);
    (0..40).for_each(|number| world.event(number, number % 4));
    world.run_until_settled(40);
    world.endpoints.values_mut().for_each(|endpoint| *endpoint = Endpoint::Unreachable);
    (40..80).for_each(|number| world.event(number, number % 4));
    let until = world.now + 10 * MINUTE;
    world.wait_until(until, MINUTE);
    assert!(world.engine.is_held());
    world.heal();
    world.run_until_settled(80);
    // The first failures tell that it is gone.
    let third = world.log.iter().map(|record| Delivery::decode(record).unwrap()).filter(|it| it.hop.attempt > 2);
    let third: BTreeSet<DeliveryId> = third.map(|delivery| delivery.id).collect();
    assert!(third.len() <= 2, "{} of 40 were tried a third time within ten minutes", third.len());
}
