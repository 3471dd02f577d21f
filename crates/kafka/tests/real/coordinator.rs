//! Coordinators that move: for a moment nobody knows where they are.

use std::collections::BTreeMap;

use kafka::{Connection, Window};
use testkit::broker::SharedKafka;
use testkit::proxy::{Action, Api};

use crate::support::{PATIENCE, World, soon, transaction};

/// `COORDINATOR_NOT_AVAILABLE`.
const NOT_AVAILABLE: i16 = 15;

/// librdkafka asks three times within milliseconds where the group's coordinator is, and then waits for a connection to come or
/// go, without a limit. With all brokers up none does.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_goes_on_after_nobody_knew_the_groups_coordinator_for_a_moment() {
    let world = World::new(1).await;
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let connection = Connection::new(&proxy.bootstrap(), &BTreeMap::new()).unwrap();
    let mut worker = world.worker_that_writes_to(&connection, "coordinator").await;
    let lease = worker.assigned().await.remove(0).lease;
    let mut gone = proxy.on_next(Api::TxnOffsetCommit, Action::CloseForAnswer);
    let mut unknown = [0; 3].map(|_| proxy.on_next(Api::FindCoordinator, Action::Fail(NOT_AVAILABLE)));
    let window = Window::restore(1, 1, Vec::new());
    let values = vec!["once".to_owned()];
    soon("the commit", worker.writer.commit(transaction(&world, &lease, &window, values.clone()))).await.unwrap();
    soon("the coordinator that goes", gone.done(PATIENCE)).await.unwrap();
    // The question that stood on the connection that went may count as one of the client's three, so the last need not come.
    unknown[0].done(PATIENCE).await.unwrap();
    worker.close().await;
    assert_eq!(world.outputs().await, values);
}
