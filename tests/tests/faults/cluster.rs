//! A cluster of three brokers, as production has it: leaders and coordinators move, brokers die and come back, writes are
//! refused for want of replicas. The pipeline is under load all the while, and the ledger balances after each scene.

mod deliveries;
mod election;
mod leaderless;
mod moves;
mod outages;

use std::time::Duration;

use testkit::pipeline::{Application, Pipeline, Role, Setup, report};
use testkit::{Cluster, Expect};

pub(crate) use self::moves::transactional_id;
use crate::scenes::{more_arrived, shop};

/// Groups of ours have their coordinators here ...
const GROUPS: &str = "__consumer_offsets";
/// ... and our transactions there.
const TRANSACTIONS: &str = "__transaction_state";
/// What was accepted ends after the last fault: a session may have to end, a transaction to time out, before it goes on.
const ENDS_WITHIN: Duration = Duration::from_secs(240);

/// A cluster with its data in a folder that goes with it.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    _folder: tempfile::TempDir,
}

/// A scene: a name, a load, and how many requests the ledger may see again.
#[derive(Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) per_second: u32,
    pub(crate) repeats: usize,
}

/// Two workers of every role that owns partitions, one of the others: their death is another test's.
fn workers(name: &str) -> Setup {
    Setup::new(name).doubled().roles(Role::Control, 1).roles(Role::Gateway, 1)
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::start(folder.path()).await.unwrap();
        Self { cluster, _folder: folder }
    }
}

impl Scene {
    /// A load before, during and after what happens to the cluster; then everything has ended and the ledger balances.
    pub(crate) async fn play(
        self,
        setup: Setup,
        cluster: &mut Cluster,
        happens: impl AsyncFnOnce(&mut Cluster, &mut Pipeline, &Application),
    ) {
        let Self { name, per_second, repeats } = self;
        let (mut pipeline, application, _) = shop(setup.on(cluster.bootstrap()), 3).await;
        let load = pipeline.load(&application, "a.b", per_second);
        more_arrived(&pipeline, u64::from(per_second) * 3).await;
        happens(cluster, &mut pipeline, &application).await;
        more_arrived(&pipeline, u64::from(per_second) * 9).await;
        let loaded = load.stop().await.unwrap();
        // A 503 may be followed by a 201 to the repeat of what was written: the fan-out drops it.
        let expect = Expect { repeats, dropped: None, unclean: true, ..Expect::default() };
        let outcome = pipeline.finish_within(expect, ENDS_WITHIN).await.unwrap();
        let counts = outcome.audit.counts;
        report(&format!(
            "{name}: {} accepted, {} answers 503, {} delivered, {} repeats, {} fewer than the {repeats} that may be",
            loaded.accepted,
            loaded.unavailable,
            counts.delivered,
            counts.repeats,
            repeats - counts.repeats
        ));
    }
}
