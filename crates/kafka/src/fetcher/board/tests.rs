//! Which offsets are read together, in which order, and that each is taken once.

use proptest::prelude::*;
use schemas::record::TopicPartition;

use super::*;

const LIMIT: usize = 1_000_000;

fn lease(number: i32) -> Lease {
    let epoch = Epoch(u64::try_from(number).unwrap() + 1);
    Lease { partition: TopicPartition::new("deliveries", number), epoch }
}

fn demands(of: &[(i32, &[i64])]) -> Demands {
    let mut demands = Demands::default();
    for (number, offsets) in of {
        assert_eq!(demands.add(&lease(*number), offsets, Urgency::Normal, LIMIT), offsets.len());
    }
    demands
}

/// The next run's partition and offsets, ended at once.
fn next(demands: &mut Demands) -> Option<(i32, Vec<i64>)> {
    let run = demands.take()?;
    demands.end(run.lease.epoch, false);
    Some((run.lease.partition.partition, run.offsets))
}

#[test]
fn what_lies_close_together_is_one_run() {
    let mut demands = demands(&[(0, &[1_200, 0, 400, 801, 802, 5_000])]);
    let runs: Vec<Vec<i64>> = std::iter::from_fn(|| next(&mut demands)).map(|(_, offsets)| offsets).collect();
    assert_eq!(runs, [vec![0, 400], vec![801, 802, 1_200], vec![5_000]]);
    assert!(demands.by_epoch.is_empty() && demands.waiting == 0, "{demands:?}");
}

#[test]
fn a_run_of_few_offsets_is_a_seek_and_a_long_one_a_scan() {
    let run = |offsets: &[i64]| Run { lease: lease(0), offsets: offsets.to_vec(), is_retry: false };
    assert!(!run(&[7]).is_scan() && !run(&[7, 7 + SEEK_SPAN]).is_scan());
    assert!(run(&[7, 8 + SEEK_SPAN]).is_scan());
}

#[test]
fn partitions_are_served_in_turn_and_each_by_one_thread() {
    let mut demands = demands(&[(0, &[0, 1_000, 2_000]), (1, &[0, 1_000]), (2, &[0])]);
    let order: Vec<i32> = std::iter::from_fn(|| next(&mut demands)).map(|(partition, _)| partition).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 0]);
    let mut demands = self::demands(&[(0, &[0, 1_000]), (1, &[0])]);
    let first = demands.take().unwrap();
    assert_eq!(demands.take().unwrap().lease, lease(1));
    assert_eq!(demands.take(), None, "both are read for");
    demands.end(first.lease.epoch, false);
    assert_eq!(demands.take().unwrap(), Run { lease: lease(0), offsets: vec![1_000], is_retry: false });
}

/// Two partitions without a leader, whose probes are urgent for ever, beside one that has a list to read.
#[test]
fn leases_whose_runs_fail_have_one_thread_in_turn_and_the_others_go_first() {
    let mut demands = demands(&[(2, &[0])]);
    for number in [0, 1] {
        demands.add(&lease(number), &[5], Urgency::Urgent, LIMIT);
        let run = demands.take().unwrap();
        assert!(run.lease == lease(number) && !run.is_retry);
        demands.add(&lease(number), &[6], Urgency::Urgent, LIMIT);
    }
    for number in [0, 1] {
        demands.end(lease(number).epoch, true);
    }
    let healthy = demands.take().unwrap();
    assert!(healthy.lease == lease(2) && !healthy.is_retry, "{healthy:?}");
    let retried = demands.take().unwrap();
    assert!(retried.lease == lease(0) && retried.is_retry);
    assert_eq!(demands.take(), None, "the other thread is for whoever comes");
    demands.end(lease(2).epoch, false);
    demands.add(&lease(2), &[1_000], Urgency::Normal, LIMIT);
    assert_eq!(demands.take().unwrap().lease, lease(2));
    // One that is read again is like all others.
    demands.end(lease(0).epoch, false);
    assert_eq!(demands.take().unwrap().lease, lease(1), "in turn");
    demands.add(&lease(0), &[9], Urgency::Urgent, LIMIT);
    assert!(demands.take().is_some_and(|run| run.lease == lease(0) && !run.is_retry));
    // Of leases that are over nothing is remembered.
    demands.cancel(lease(1).epoch);
    demands.end(lease(1).epoch, true);
    assert!(demands.failed.is_empty() && demands.retried.is_none());
}

#[test]
fn what_is_urgent_goes_first_and_alone() {
    let mut demands = demands(&[(0, &[0, 1, 2]), (1, &[0])]);
    assert_eq!(demands.add(&lease(1), &[9, 0], Urgency::Urgent, LIMIT), 2);
    assert_eq!(demands.waiting, 5, "one was demanded before");
    let runs: Vec<(i32, Vec<i64>)> = std::iter::from_fn(|| next(&mut demands)).collect();
    assert_eq!(runs, [(1, vec![0, 9]), (0, vec![0, 1, 2])]);
}

/// A lane that asks for its oldest again and again does not keep the others from theirs.
#[test]
fn reading_goes_on_upwards_though_more_is_demanded_below() {
    let mut demands = demands(&[(0, &[10_000, 20_000])]);
    // Somebody always reads for the lease, so that its position is kept.
    let mut read = Vec::new();
    for _ in 0..4 {
        let run = demands.take().unwrap();
        demands.add(&lease(0), &[0], Urgency::Normal, LIMIT);
        demands.end(run.lease.epoch, false);
        read.extend(run.offsets);
    }
    assert_eq!(read, [10_000, 20_000, 0, 0]);
}

#[test]
fn a_lease_that_is_cancelled_is_forgotten_while_it_is_read_for() {
    let mut demands = demands(&[(0, &[0, 9_000])]);
    let run = demands.take().unwrap();
    assert!(demands.is_wanted(run.lease.epoch));
    demands.cancel(run.lease.epoch);
    assert!(!demands.is_wanted(run.lease.epoch) && demands.waiting == 0);
    demands.end(run.lease.epoch, false);
    assert_eq!(demands.take(), None);
}

#[test]
fn no_more_is_taken_than_there_is_room_for() {
    let mut demands = Demands::default();
    assert_eq!(demands.add(&lease(0), &[1, 2, 3], Urgency::Normal, 2), 2);
    assert_eq!(demands.add(&lease(0), &[2, 1], Urgency::Urgent, 2), 2, "known ones need no room");
    assert_eq!(demands.add(&lease(1), &[1], Urgency::Normal, 2), 0);
    assert!(!demands.is_wanted(lease(1).epoch));
}

proptest! {
    /// Whatever is demanded, taken, ended and cancelled: each offset of a lease that lives is in exactly one run.
    #[test]
    fn everything_is_read_once(steps in prop::collection::vec((0..4_u8, 0..3_i32, 0..3_000_i64), 1..200)) {
        let mut demands = Demands::default();
        let (mut asked, mut read) = (BTreeSet::new(), Vec::new());
        let mut reading = Vec::new();
        for (step, number, offset) in steps {
            match step {
                0 | 1 => if asked.insert((number, offset)) {
                    let urgency = if step == 0 { Urgency::Normal } else { Urgency::Urgent };
                    demands.add(&lease(number), &[offset], urgency, LIMIT);
                },
                2 => if let Some(run) = demands.take() {
                    let number = run.lease.partition.partition;
                    prop_assert!(!reading.contains(&run.lease.epoch));
                    reading.push(run.lease.epoch);
                    read.extend(run.offsets.into_iter().map(|offset| (number, offset)));
                },
                _ => if let Some(epoch) = reading.pop() {
                    demands.end(epoch, false);
                },
            }
        }
        reading.into_iter().for_each(|epoch| demands.end(epoch, false));
        while let Some((number, offsets)) = next(&mut demands) {
            read.extend(offsets.into_iter().map(|offset| (number, offset)));
        }
        read.sort_unstable();
        prop_assert_eq!(read, asked.into_iter().collect::<Vec<_>>());
        prop_assert!(demands.by_epoch.is_empty() && demands.waiting == 0);
    }
}
