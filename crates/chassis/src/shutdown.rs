//! Shutdown: one request for everybody, one way to make it urgent.
//!
//! The first SIGINT or SIGTERM (or a failed task) *requests*: intake stops, what is in flight finishes, outcomes are
//! committed, all within one grace period. The second signal *forces*: `main` returns at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::tasks;

/// The shared wish to stop. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    forced: CancellationToken,
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::request`] starts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGINT and SIGTERM request, and that a second one of them forces.
    /// To be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let watched = shutdown.clone();
        let _signals = tasks::spawn("signals", async move { watched.listen(interrupt, terminate).await });
        Ok(shutdown)
    }

    /// Asks everybody to stop. Asking again changes nothing.
    pub fn request(&self) {
        self.requested.cancel();
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Resolves when somebody asked.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Makes it urgent: no drain any more.
    pub fn force(&self) {
        self.requested.cancel();
        self.forced.cancel();
    }

    /// Resolves when it became urgent; `main` returns then without waiting for anything.
    pub async fn forced(&self) {
        self.forced.cancelled().await;
    }

    /// The request as a token, for the parts of libraries that want one.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.requested.clone()
    }

    async fn listen(&self, mut interrupt: Signal, mut terminate: Signal) {
        let first = next(&mut interrupt, &mut terminate).await;
        info!(signal = first, "stopping: draining what is in flight, a second signal ends at once");
        self.request();
        let second = next(&mut interrupt, &mut terminate).await;
        warn!(signal = second, "second signal: ending without waiting for the drain");
        self.force();
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_reaches_every_clone_and_is_not_urgent() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        assert!(!clone.is_requested());
        shutdown.request();
        clone.requested().await;
        assert!(clone.is_requested());
        assert!(!clone.forced.is_cancelled());
    }

    #[tokio::test]
    async fn forcing_requests_too() {
        let shutdown = Shutdown::new();
        shutdown.force();
        shutdown.requested().await;
        shutdown.forced().await;
    }

    #[tokio::test]
    async fn the_first_signal_requests_and_the_second_forces() {
        let shutdown = Shutdown::on_signals().unwrap();
        let terminate = || {
            let kill = format!("kill -TERM {}", std::process::id());
            assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        };
        terminate();
        shutdown.requested().await;
        assert!(!shutdown.forced.is_cancelled());
        terminate();
        shutdown.forced().await;
    }
}
