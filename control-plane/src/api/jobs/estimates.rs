//! What a job would do, instead of the job: `?dry_run=true`.

use delivery_log::DeliveryStore;
use http::StatusCode;
use schemas::jobs::JobDefinition;
use serde::Serialize;

use crate::api::{json, time};
use crate::jobs::{Estimate, Estimator};
use crate::log::unavailable;
use crate::problem::Answer;
use crate::state::App;

/// What a job would do.
#[derive(Debug, Serialize)]
struct EstimateShown {
    /// Events that it is about.
    events: u64,
    /// What it would write: deliveries, or decisions about dead letters.
    deliveries: u64,
    /// Bytes of their payloads, as far as the delivery log knows them.
    bytes: u64,
    /// When the oldest of the events was accepted, or of the dead letters died.
    oldest: Option<String>,
    newest: Option<String>,
    /// Those that are left out because Kafka does not hold their payload any more.
    expired: u64,
    /// False: everything was counted. True: there is too much, and the rest is taken to be as what was counted in three seconds, or
    /// filters of subscriptions would have to be asked with payloads.
    is_estimate: bool,
}

/// Answers with what a job would do.
pub(super) async fn estimated(app: &App, store: &dyn DeliveryStore, definition: JobDefinition) -> Answer {
    let deliveries = app.pings().topic().to_string();
    let (held, letters) = (app.log().held(), app.log().held_letters());
    let mut estimator = Estimator { store, catalog: app.catalog(), held, deliveries: &deliveries, letters };
    let estimate = estimator.estimate(definition).await.map_err(|reason| unavailable(&reason))?;
    shown(&estimate)
}

/// The answer that stands for an estimate.
pub(super) fn shown(estimate: &Estimate) -> Answer {
    json(
        StatusCode::OK,
        &EstimateShown {
            events: estimate.events,
            deliveries: estimate.deliveries,
            bytes: estimate.bytes,
            oldest: estimate.oldest_ms.map(time),
            newest: estimate.newest_ms.map(time),
            expired: estimate.expired,
            is_estimate: estimate.is_estimate,
        },
    )
}
