//! When a role is ready.

use chassis::health::Health;
use schemas::record::TopicPartition;

use super::*;

#[test]
fn what_is_left_out_holds_readiness_up_no_longer_than_an_election_may_take() {
    let health = Health::new();
    let now = Now::read();
    let mut members: Membership<()> = Membership::new(Some(health.latch("partitions")), now.instant);
    let lease = Lease { partition: TopicPartition::new("events", 3), epoch: Epoch(1) };
    members.assigning.insert(lease.epoch, Assigning::new(lease.clone(), now));
    let is_ready = |members: &Membership<()>, seconds| {
        let ours = || kafka::Membership { joined: true, partitions: 1 };
        members.check_ready(now.instant + Duration::from_secs(seconds), ours);
        health.is_ready()
    };
    assert!(!is_ready(&members, 60), "it is being taken over");
    let again = members.leave_out(&lease, false, now);
    assert_eq!(again, Duration::from_millis(500));
    assert!(!is_ready(&members, 14), "its leader may come back");
    assert!(is_ready(&members, 15), "an operator is needed, and nothing else is ours");
}
