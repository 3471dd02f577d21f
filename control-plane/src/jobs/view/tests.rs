//! What is known of jobs while Kafka is not heard.

use uuid::Uuid;

use super::*;

const COUNT: i32 = 8;

/// An application whose jobs are in this partition.
fn application(partition: i32) -> ApplicationId {
    let mut all = (0..).map(|number| ApplicationId(Uuid::from_u128(number)));
    all.find(|id| jobs_partition(*id, COUNT) == partition).unwrap()
}

fn taken(ends: impl Fn(i32) -> Option<i64>) -> TakenJobs {
    TakenJobs { ends: Some((0..COUNT).map(|it| (it, ends(it))).collect()), ..TakenJobs::default() }
}

#[test]
fn a_partition_without_a_leader_holds_up_its_own_jobs_alone() {
    let mut taken = taken(|partition| (partition != 3).then_some(7));
    for partition in 0..COUNT {
        assert!(!taken.is_caught_up(Some(application(partition))));
        if partition != 3 {
            taken.reached(partition, 7, None);
        }
    }
    assert!(taken.has_all_told() && taken.is_untold(3) && !taken.is_untold(4));
    assert!(taken.is_caught_up(Some(application(4))) && !taken.is_caught_up(Some(application(3))));
    assert!(!taken.is_caught_up(None), "a job that is not found may be there");
    taken.reached(3, 4, Some(5));
    assert!(!taken.is_caught_up(Some(application(3))));
    taken.reached(3, 5, None);
    assert!(taken.is_caught_up(Some(application(3))) && taken.is_caught_up(None));
}

#[test]
fn what_was_not_read_for_a_while_is_behind_since_it_was_not() {
    let mut taken = taken(|_| Some(0));
    let told = |end: i64| (0..COUNT).map(|partition| (partition, end)).collect::<Positions>();
    taken.heard(&told(0), 1_000);
    assert_eq!(taken.behind_since(None), None);
    taken.heard(&told(5), 2_000);
    taken.heard(&told(9), 3_000);
    assert_eq!(taken.behind_since(Some(application(2))), Some(2_000), "as of the first that was not read");
    taken.reached(2, 5, None);
    assert_eq!(taken.behind_since(Some(application(2))), None, "that was read: of what came since nobody has heard");
    taken.heard(&told(9), 4_000);
    assert_eq!(taken.behind_since(Some(application(2))), Some(4_000));
    assert_eq!(taken.behind_since(None), Some(2_000));
    for partition in 0..COUNT {
        taken.reached(partition, 9, None);
    }
    taken.heard(&Positions::new(), 5_000);
    taken.heard(&Positions::new(), 6_000);
    assert_eq!(taken.behind_since(None), Some(5_000), "kafka says nothing");
    taken.heard(&told(10), 7_000);
    assert_eq!(taken.behind_since(None), Some(5_000), "it does again, and what came meanwhile is not read");
    taken.heard(&told(9), 8_000);
    assert_eq!(taken.behind_since(None), None);
}

#[tokio::test]
async fn a_view_that_is_cut_off_from_kafka_does_not_say_that_it_has_everything() {
    let view = JobsView::default();
    view.is_cut_off(COUNT, 1_000);
    let before = view.behind_since(None);
    view.taken.send_modify(|taken| taken.owed.clear());
    assert_eq!((before, view.behind_since(None)), (Some(1_000), None));
    // Nobody listens there.
    let connection = Connection::new("127.0.0.1:1", &BTreeMap::new()).unwrap();
    view.look(&Offsets::start_committed(&connection).unwrap(), &Arc::from("jobs")).await;
    assert!(view.behind_since(Some(application(1))).is_some());
}
