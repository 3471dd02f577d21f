//! Replicas that share a store: one fills it and tells the others how far it is; they answer from it, and wait for their turn.
//!
//! A store of this process is its own: its turn is at once, and nobody is told.

use std::time::Duration;

use chassis::clock;
use delivery_log::StoreError;
use kafka::Offsets;
use tokio::time::Instant;
use tracing::{debug, info};

use super::progress::ToldProgress;
use super::project::{ProjectError, Projection};
use super::upkeep;

/// Between two times that it is told, and asked.
const EVERY: Duration = Duration::from_secs(1);

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
        let told = match self.store.told().await {
            Ok(told) => told.and_then(|told| serde_json::from_str::<ToldProgress>(&told).ok()),
            Err(error) => {
                debug!(%error, "how far the delivery log is cannot be asked");
                return;
            }
        };
        let now_ms = clock::now_ms();
        let Some(told) = told else {
            // Nobody has since days were given up that are kept.
            self.log.progress().whole_from(Some(now_ms));
            return;
        };
        self.log.progress().follow(&told, now_ms);
        self.log.filled_by(Some(told.replica));
        if let Some(ms) = self.log.progress().behind_ms(now_ms) {
            self.tell_age(ms);
        }
    }

    /// Tells the others again and again, until that fails: then it is not known who fills the store.
    pub(super) async fn tell_others(&self) -> StoreError {
        loop {
            tokio::time::sleep(EVERY).await;
            let told = self.log.progress().tell(self.log.replica(), clock::now_ms());
            let Some(told) = told.and_then(|told| serde_json::to_string(&told).ok()) else { continue };
            if let Err(error) = self.store.tell(told).await {
                return error;
            }
        }
    }
}
