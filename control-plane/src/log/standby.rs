//! Replicas that share a store: one fills it and tells the others how far it is; they answer from it, and wait for their turn.
//!
//! A store of this process is its own: its turn is at once, and nobody is told.

use std::time::Duration;

use chassis::clock;
use delivery_log::{DeliveryStore, StoreError};
use kafka::Offsets;
use tokio::time::Instant;
use tracing::{debug, info};

use super::DeliveryLog;
use super::progress::ToldProgress;
use super::project::{ProjectError, Projection};
use super::upkeep;

/// Between two times that it is asked.
const EVERY: Duration = Duration::from_secs(1);
/// Between two times that it is told: a part of a job waits for it at a replica that stands by.
const TOLD: Duration = Duration::from_millis(250);

// === impl Projection ===

impl Projection {
    /// Until it is this replica that fills the store.
    pub(super) async fn stand_by(&self) -> Result<(), ProjectError> {
        let mut turn = self.store.turn();
        if let Ok(turn) = tokio::time::timeout(EVERY, &mut turn).await {
            return Ok(turn?);
        }
        self.follow_told().await;
        info!("another control plane fills the delivery log; this one answers from it, and stands by");
        let offsets = Offsets::start(&self.connection)?;
        self.log.reads_with(offsets.clone());
        let mut look_at = Instant::now();
        loop {
            if Instant::now() >= look_at {
                self.look_what_is_held(&offsets).await;
                look_at = Instant::now() + upkeep::EVERY;
            }
            tokio::select! {
                biased;
                turn = &mut turn => {
                    self.log.filled_by(None);
                    return Ok(turn?);
                }
                () = tokio::time::sleep(EVERY) => {}
            }
            self.follow_told().await;
        }
    }

    /// Is as far as the replica that fills the store has told. What cannot be asked is as old as it was told last.
    async fn follow_told(&self) {
        let Ok(told) = told(self.store.as_ref()).await else { return };
        self.log.follow(told);
        if let Some(ms) = self.log.progress().behind_ms(clock::now_ms()) {
            self.tell_age(ms);
        }
    }

    /// Tells the others again and again, until that fails: then it is not known who fills the store.
    pub(super) async fn tell_others(&self) -> StoreError {
        loop {
            tokio::time::sleep(TOLD).await;
            let told = self.log.progress().tell(self.log.replica(), clock::now_ms());
            let Some(told) = told.and_then(|told| serde_json::to_string(&told).ok()) else { continue };
            if let Err(error) = self.store.tell(told).await {
                return error;
            }
        }
    }
}

// === impl DeliveryLog ===

impl DeliveryLog {
    /// Where another replica fills the store, is as far as that one has told just now.
    pub(crate) async fn hear(&self) {
        let Ok(store) = self.store() else { return };
        if self.is_filled_by_another()
            && let Ok(told) = told(store.as_ref()).await
            && self.is_filled_by_another()
        {
            self.follow(told);
        }
    }

    /// Is as far as was told; `None`: nobody has told since days were given up that are kept.
    fn follow(&self, told: Option<ToldProgress>) {
        let now_ms = clock::now_ms();
        let Some(told) = told else {
            self.progress().whole_from(Some(now_ms));
            return;
        };
        self.progress().follow(&told, now_ms);
        self.filled_by(Some(told.replica));
    }
}

/// What was told last.
async fn told(store: &dyn DeliveryStore) -> Result<Option<ToldProgress>, StoreError> {
    let told = store.told().await.inspect_err(|error| debug!(%error, "how far the delivery log is cannot be asked"))?;
    Ok(told.and_then(|told| serde_json::from_str(&told).ok()))
}
