//! What must be there before the first request: the one organization of a new installation.

use std::time::Duration;

use chassis::config::ControlConfig;
use chassis::health::Latch;
use schemas::control::{ControlObject, Organization};
use tracing::{info, warn};

use crate::actor::Actor;
use crate::config::Deps;
use crate::error::Error;
use crate::store::{Decision, Store};

/// Between two tries while Kafka does not take writes.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the organization if it is not there, then releases the latch.
pub(crate) async fn run(config: ControlConfig, deps: Deps, store: Store, latch: Latch) -> Result<(), Error> {
    let shutdown = deps.tasks.shutdown().clone();
    tokio::select! {
        outcome = seed(&config, &deps, &store) => outcome?,
        () = shutdown.requested() => return Ok(()),
    }
    latch.release();
    Ok(())
}

async fn seed(config: &ControlConfig, deps: &Deps, store: &Store) -> Result<(), Error> {
    deps.catalog.caught_up().await;
    if deps.catalog.read().organization(config.organization_id).is_some() {
        return Ok(());
    }
    loop {
        match write(config, store).await {
            Ok(true) => info!(organization = %config.organization_id, "the first organization is written"),
            Ok(false) => {}
            Err(problem) if problem.status == 503 => {
                warn!(detail = problem.detail, "cannot write the first organization yet");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(problem) => return Err(Error::Seed { detail: problem.into_detail() }),
        }
        return Ok(());
    }
}

async fn write(config: &ControlConfig, store: &Store) -> Result<bool, crate::problem::Problem> {
    let (id, name) = (config.organization_id, config.organization_name.clone());
    let decide = move |snapshot: &catalog::Snapshot, moment: crate::store::Moment| {
        if snapshot.organization(id).is_some() {
            return Ok(Decision::nothing(false));
        }
        let organization = Organization::new(id, name.clone(), moment.now_ms);
        Ok(Decision::put(ControlObject::Organization(organization), true))
    };
    store.write_own(&Actor::system("seed"), decide).await
}
