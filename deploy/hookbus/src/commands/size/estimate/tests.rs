//! Sizes grow with what is asked, and never below what one away needs.

use proptest::prelude::*;

use super::*;

fn demand() -> SizeDemand {
    SizeDemand {
        peak: 1_000.0,
        mean: 1_000.0,
        payload: 2_048.0,
        matches: 3.0,
        attempts: 1.05,
        latency_s: 0.2,
        cores: 2.0,
        replication: 3,
    }
}

fn size(estimate: &SizeEstimate, role: Role) -> RoleSize {
    *estimate.roles.iter().find(|size| size.role == role).unwrap()
}

#[test]
fn a_thousand_events_a_second_need_two_of_each() {
    let estimate = SizeEstimate::of(&demand(), &Config::for_tests());
    assert!(estimate.roles.iter().all(|size| size.pods == 2), "{:?}", estimate.roles);
    assert_eq!(estimate.partitions, [("events", 8), ("deliveries", 16), ("retry", 8)]);
    // 1,000 x 3 x 1.05 attempts of 200 ms.
    assert!((estimate.in_flight - 630.0).abs() < 1e-6, "{}", estimate.in_flight);
    let kept = |topic: &str| estimate.kafka.topics.iter().find(|(name, ..)| *name == topic).unwrap().2;
    assert_eq!((kept("events"), kept("deliveries"), kept("attempts"), kept("seen")), (7.0, 14.0, 30.0, 2.0));
    // 1,000 x 86,400 x (2,048 + 480).
    let events = estimate.kafka.topics[0].1;
    assert!((events - 218_419_200_000.0).abs() < 1.0, "{events}");
}

#[test]
fn what_many_wait_for_needs_workers_and_partitions_though_it_costs_little() {
    let slow = SizeDemand { peak: 200.0, latency_s: 30.0, ..demand() };
    let estimate = SizeEstimate::of(&slow, &Config::for_tests());
    // 200 x 3 x 1.05 x 30 s = 18,900 in flight; half of 4,096 each.
    assert_eq!(size(&estimate, Role::Delivery).pods, 10);
    assert_eq!(estimate.partitions[1], ("deliveries", 40));
    assert_eq!(size(&estimate, Role::Gateway).pods, 2);
}

#[test]
fn memory_is_that_of_a_worker_which_owns_every_partition() {
    let config = Config::for_tests();
    let few = size(&SizeEstimate::of(&demand(), &config), Role::Delivery).memory_mib;
    let many = size(&SizeEstimate::of(&SizeDemand { latency_s: 30.0, ..demand() }, &config), Role::Delivery).memory_mib;
    assert!(many > few, "{many} {few}");
    assert_eq!(few % 64, 0);
}

#[test]
fn as_few_workers_as_are_enough_when_they_are_so_many() {
    assert_eq!(workers(2, |_| 2), 2);
    assert_eq!(workers(2, |workers| if workers < 7 { 9 } else { 6 }), 7, "together they cost less");
    assert_eq!(workers(2, |_| 9), 9);
    assert_eq!(workers(5, |_| 3), 5);
}

#[test]
fn a_transaction_costs_what_was_measured_and_between_that_in_proportion() {
    assert!((broker_s(8.0) - 0.015).abs() < 1e-9);
    assert!((broker_s(36.0) - 0.027).abs() < 1e-9);
    assert!((broker_s(512.0) - 0.416).abs() < 1e-9, "beyond it as the last one");
    assert!(broker_s(0.0) <= broker_s(1.0));
}

proptest! {
    #[test]
    fn more_is_never_less(peak in 1.0_f64..50_000.0, matches in 0.1_f64..20.0, payload in 10.0_f64..100_000.0, times in 1.0_f64..4.0) {
        let config = Config::for_tests();
        let one = SizeDemand { peak, mean: peak, matches, payload, ..demand() };
        let (one, more) = (SizeEstimate::of(&one, &config), SizeEstimate::of(&SizeDemand { peak: peak * times, mean: peak * times, ..one }, &config));
        for (one, more) in one.roles.iter().zip(&more.roles) {
            prop_assert!(more.pods >= one.pods, "{one:?} {more:?}");
            // One away: the others have room for all of it.
            prop_assert!(f64::from(one.pods) * 2.0 * PLANNED >= one.cores * 0.999 || one.role == Role::Control, "{one:?}");
        }
        prop_assert!(more.kafka.disk(3) >= one.kafka.disk(3));
        for (one, more) in one.partitions.iter().zip(&more.partitions) {
            prop_assert!(more.1 >= one.1 && one.1 % STEP == 0);
        }
    }
}
