//! What an operator does with the lists of what waits while no delivery worker runs: `hookbus lanes accept` and
//! `hookbus lanes release`.
//!
//! ```text
//! nobody in the group? --> join it alone --> take over, restore, correct --> work.rs --> transactions with the progress --> leave
//!                              |  somebody else comes: end                      |
//!                              +------------------------------------------------+
//! ```
//!
//! It is a stage like the role's own, a member of the role's group under a transactional id of the role's kind. So what it writes
//! to `lanes` is fenced as a worker's is: it stands in a transaction with the progress of its partition, under a lease that Kafka
//! knows. A worker that comes in between takes the partitions away, and whatever is not committed then never is.

mod judge;
mod portion;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::config::{KafkaConfig, Role};
use chassis::health::Health;
use chassis::shutdown::Shutdown;
use kafka::group::{self, Member};
use kafka::{Connection, ListsRestorer, Offsets};
use prometheus::Registry;
use schemas::topics::Topics;
use tokio::sync::watch;

pub use self::judge::{JudgedLists, ListsTotal, judge};
use self::work::{OperatorTask, OperatorWork};
use crate::book::Total;
use crate::error::Error;
use crate::work::{AcceptedLists, Books, ReadBack};

/// The name among delivery workers of whoever does this: one that runs twice fences itself.
const SLOT: &str = "lanes";
/// How often it is looked whether somebody else has come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the log that are read back per second.
const READ_BACK_BYTES: usize = 128 * 1024 * 1024;

/// What an operator's task stands on.
#[derive(Clone, Debug)]
pub struct OperatorDeps {
    /// Where Kafka is, with the permissions of a delivery worker.
    pub connection: Connection,
    /// The names and time limits of the delivery workers.
    pub kafka: KafkaConfig,
    /// Names of the topics.
    pub topics: Topics,
    /// How long the end may take after a request to stop.
    pub grace: Duration,
}

/// How far a task is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorProgress {
    /// Deliveries that left the lists because they were written to `deliveries` once more.
    pub copied: u64,
    /// Deliveries that left the lists because their records are not in `deliveries` any more.
    pub lost: u64,
    /// Deliveries that left the lists because their partition's progress says that they are read again.
    pub read_again: u64,
    /// Deliveries that wait in the lists of the partitions that were taken over.
    pub left: u64,
    /// Partitions that are done with.
    pub partitions: usize,
    /// All of them are: nothing is left to do.
    pub is_done: bool,
    /// Another member of the group, which made an end of it: partitions are the delivery workers' first.
    pub other: Option<String>,
}

/// Goes on with these partitions' lists as they are, though something else was claimed.
///
/// `seen`: by partition what they held when a person saw them, and what was claimed. Where either is not so any more nothing of that
/// partition is changed, and it fails.
///
/// # Errors
/// As a delivery worker's start; nobody has committed anything half.
pub async fn accept(
    deps: OperatorDeps,
    seen: BTreeMap<i32, (ListsTotal, ListsTotal)>,
    shutdown: Shutdown,
) -> Result<OperatorProgress, Error> {
    let total = |total: ListsTotal| Total { queued: total.queued, sum: total.sum };
    let accepted = seen
        .into_iter()
        .map(|(partition, (held, claimed))| (partition, AcceptedLists { held: total(held), claimed: total(claimed) }));
    let told = watch::Sender::new(OperatorProgress::default());
    run(deps, OperatorTask::Accept(accepted.collect()), shutdown, told).await
}

/// Writes what waits in lists to the end of `deliveries` once more, and takes it out of the lists.
///
/// One transaction has a thousand of them at most. When a partition has none left its commit metadata say nothing of lists, so that
/// every release reads them. `told` hears how far it is after each transaction; asked to stop, it ends in between, and goes on where
/// it was when it is called again.
///
/// # Errors
/// As a delivery worker's start, and a delivery that Kafka does not take. What was committed is.
pub async fn release(
    deps: OperatorDeps,
    shutdown: Shutdown,
    told: watch::Sender<OperatorProgress>,
) -> Result<OperatorProgress, Error> {
    run(deps, OperatorTask::Release, shutdown, told).await
}

async fn run(
    deps: OperatorDeps,
    task: OperatorTask,
    shutdown: Shutdown,
    told: watch::Sender<OperatorProgress>,
) -> Result<OperatorProgress, Error> {
    let OperatorDeps { connection, kafka, topics, grace } = deps;
    let kafka = KafkaConfig { slot: SLOT.to_owned(), ..kafka };
    kafka::topics::require_alike(&connection, [&topics.deliveries, &topics.lanes]).await.map_err(Error::Lists)?;
    let offsets = Offsets::start(&connection).map_err(Error::Lists)?;
    let partitions = offsets.partitions(&topics.deliveries).await.map_err(Error::Lists)?.unwrap_or(0);
    let lists = ListsRestorer::new(&connection, offsets, Arc::clone(&topics.lanes), kafka.transaction_timeout);
    let options = stage::Options {
        writes: [&topics.deliveries, &topics.lanes].map(Arc::clone).into(),
        // What is in the window stays there: no more of it is read than has to be.
        live_records: 1,
        order: stage::Order::AnyOrder,
        grace,
        ..stage::Options::of(Role::Delivery, &kafka, vec![topics.deliveries.to_string()])
    };
    let (group, own) = (options.group.clone(), options.client_id.clone());
    let books = Books::new(topics.clone(), Some(lists));
    let read_back = ReadBack::start(&connection, READ_BACK_BYTES)?;
    let partitions = usize::try_from(partitions).unwrap_or(0);
    let work = OperatorWork::new(task, (books, read_back), partitions, shutdown.clone(), told.clone());
    let deps =
        stage::Deps { connection: connection.clone(), kafka, topics, registry: Registry::new(), health: Health::new() };
    let mut stage = Box::pin(stage::run(options, deps, work, shutdown.clone()));
    tokio::select! {
        ended = &mut stage => ended?,
        other = somebody_else(&connection, &group, &own) => {
            told.send_modify(|progress| progress.other = Some(other));
            shutdown.request();
            stage.await?;
        }
    }
    Ok(told.borrow().clone())
}

/// Resolves when the group has another member than the one with this client id, with its name.
async fn somebody_else(connection: &Connection, group: &str, own: &str) -> String {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match group::members(connection, group).await {
            Ok(members) => {
                if let Some(other) = other_than(&members, own) {
                    return format!("{} at {}", other.client_id, other.host);
                }
            }
            Err(error) => tracing::warn!(%error, "who is in the group is not told now; asking again"),
        }
    }
}

/// A member of another name, or a second one of this name.
fn other_than<'a>(members: &'a [Member], own: &str) -> Option<&'a Member> {
    let second = || members.iter().filter(|member| member.client_id == own).nth(1);
    members.iter().find(|member| member.client_id != own).or_else(second)
}
