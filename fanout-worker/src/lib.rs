//! Step 2: event x subscriptions. Deduplicates, matches, writes deliveries in one transaction.
//!
//! ```text
//! [events] -------stage--> queue --read-index on [control]--> plan ---------------------------> stage: one transaction
//!                 work.rs         (one per batch)              |
//! topics of others                                             +- crates/sources record -> event, or why not
//!     --a second stage, a group of its own (intake.rs)-->      +- deduplicate   seen inside the window? -> repeat
//!                                                              +- select        application, type, schema, subscriptions
//! [retried] --beside events: what was rejected, where it stood (retried.rs)
//!      a partition is ours: restore.rs                         +- filter        whose filters let the event through
//!      reads [seen]                                            +- weigh         more than may be? -> rejected
//!                                                              +- slices        more than one transaction carries? one slice after the other
//!                                                              +- expand        one delivery per subscription
//!
//! one transaction: [deliveries] + [attempts] (one lifecycle record per event) + [rejected] + [seen] + the source's offsets
//! ```
//!
//! Every record leaves exactly one lifecycle record of its own: matched, repeat or rejected; what a source skips leaves none. Beside
//! it, and rate-limited, stand those of filters that failed and of types to be declared. Everything but `restore.rs`, `read_index.rs`
//! and two tasks of `intake` is pure and takes `now`.
//!
//! **Slices.** An event for more than one transaction carries leaves its deliveries in several, in the order of subscription ids. Its offset
//! stays until all are written, and the commit metadata say how far it is (cursors.rs): whoever reads it next goes on there. Its partition
//! waits for it, others do not.
//!
//! **Two intakes.** `events` and the topics of sources are read by two stages, with a group, a writer and a batch of their own, so
//! that nothing that happens to a topic of others holds `events` up. They share the catalog and the budget of identities. A process may
//! run one of them alone ([`Intakes`]), so that each has as many workers as it needs.
//!
//! What it leaves to others: what a subscription wants (crates/catalog), rebalances, transactions and hand-over
//! (crates/stage), the attempt itself (delivery-worker).

mod assemble;
mod config;
mod cursors;
mod deduplicate;
mod error;
mod expand;
mod filter;
mod intake;
mod metrics;
mod owners;
mod plan;
mod queue;
mod read_index;
mod remember;
mod restore;
mod retried;
mod select;
mod slices;
mod status;
mod weigh;
mod work;

use std::time::Duration;

use catalog::Catalog;
use chassis::config::{KafkaConfig, Role};
use chassis::health::Health;
use chassis::metrics::Registry;
use chassis::shutdown::Shutdown;
use chassis::status::{Teller, TellerOptions};
use chassis::tasks;
use kafka::Connection;
use schemas::topics::Topics;

pub use config::{FanoutConfig, Intakes, SourcesConfig};
pub use error::Error;

use self::assemble::SharedParts;

/// What the role stands on.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Where Kafka is.
    pub connection: Connection,
    /// Names and timeouts: group, slot, session, transaction, hand-over.
    pub kafka: KafkaConfig,
    /// Names of our topics.
    pub topics: Topics,
    /// Who receives what.
    pub catalog: Catalog,
    /// Gets the role's metrics.
    pub registry: Registry,
    /// Gets a latch (`fanout partitions`) and two beats.
    pub health: Health,
    /// The grace period of the process.
    pub grace: Duration,
}

/// Runs the role until shutdown is requested and what was begun is committed: its intakes, that of sources from when there is one.
///
/// # Errors
/// What no waiting heals: see [`Error`]. The process should end then; everything not committed is done again by others.
pub async fn run(
    config: FanoutConfig,
    (sources, intakes): (SourcesConfig, Intakes),
    deps: Deps,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let latch = deps.health.latch("fanout partitions");
    let telling = telling(&deps, intakes);
    let teller = Teller::start(telling.clone());
    teller.tell(status::waiting_for_control());
    // Matching against a snapshot that has not caught up would miss subscriptions; nothing is consumed before.
    tokio::select! {
        () = deps.catalog.caught_up() => {}
        () = shutdown.requested() => {
            teller.end().await;
            return Ok(());
        }
    }
    let common = SharedParts::new(config, &sources, deps).await?;
    let fetching = assemble::fetch_schemas(&common, shutdown.clone());
    if !intakes.has_events() {
        // Topics of others may be away for as long as they like: nothing of them makes a process unready, as beside `events`.
        latch.release();
        teller.tell(status::reads_nothing());
        let sources = assemble::run_sources(common.clone(), sources, Some((telling, teller)), shutdown);
        tokio::try_join!(sources, fetching)?;
        return Ok(());
    }
    let options = stage::Options { latch: Some(latch), teller: Some(teller), ..common.events_options() };
    let events = Box::pin(stage::run(options, common.stage_deps(), common.events_work(), shutdown.clone()));
    let events = async { events.await.map_err(Error::from) };
    if !intakes.has_sources() {
        // Records that are retried may need schemas too.
        tokio::try_join!(events, fetching)?;
        return Ok(());
    }
    // A task of its own: neither waits for the other's planning.
    let beside = tasks::spawn("fanout sources", assemble::run_sources(common.clone(), sources, None, shutdown));
    let beside = async { beside.await.map_err(|panic| Error::Intake { reason: panic.to_string() })? };
    tokio::try_join!(events, beside, fetching)?;
    Ok(())
}

/// Under which name it says how it is doing: one that reads sources alone has another, lest two processes of one slot are taken for one.
fn telling(deps: &Deps, intakes: Intakes) -> TellerOptions {
    let of_role = TellerOptions::of(Role::Fanout, &deps.connection, &deps.topics, &deps.kafka);
    match intakes {
        Intakes::Both | Intakes::Events => of_role,
        Intakes::Sources => TellerOptions { role: assemble::SOURCES, client_id: deps.kafka.sources_id(), ..of_role },
    }
}
