//! Shutdown: one request for everybody, one way to make it urgent.
//!
//! The first SIGINT or SIGTERM *announces*: the process is not ready any more, and everything goes on; who asks on a kept
//! connection is told with the answer to take another one. After a delay, in which balancers and clients learn of it, it
//! *requests* (as a failed task does at once): intake stops, what is in flight finishes, outcomes are committed, all within one
//! grace period. The second signal *forces*: `main` returns at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::tasks;

/// What a process needs of its grace period after its drain: the last transaction and leaving the group, or flushing the
/// producer, and taking its report back.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a drain may take of a grace period, so that the process ends by itself within it.
#[must_use]
pub fn drain_time(grace: Duration) -> Duration {
    grace - (grace / 4).min(LAST_WORDS)
}

/// The shared wish to stop. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    announced: CancellationToken,
    /// The same for those who ask with every request: a token's look takes a lock that all share.
    is_announced: Arc<AtomicBool>,
    requested: CancellationToken,
    forced: CancellationToken,
}

impl Shutdown {
    /// A shutdown that only [`Shutdown::request`] starts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGINT and SIGTERM announce at once and request after `delay`, and that a second one of them forces.
    /// To be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals(delay: Duration) -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let watched = shutdown.clone();
        let _signals = tasks::spawn("signals", async move {
            let first = next(&mut interrupt, &mut terminate).await;
            watched.announce(first, delay);
            watched.end(first, tokio::time::sleep(delay), next(&mut interrupt, &mut terminate)).await;
        });
        Ok(shutdown)
    }

    /// Asks everybody to stop. Asking again changes nothing.
    pub fn request(&self) {
        self.set_announced();
        self.requested.cancel();
    }

    /// Whether it is known that somebody will ask.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.is_announced.load(Ordering::Relaxed)
    }

    /// Resolves when it is known that somebody will ask: whoever routes requests here should stop.
    pub async fn announced(&self) {
        self.announced.cancelled().await;
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
        self.request();
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

    pub(crate) fn announce(&self, signal: &str, delay: Duration) {
        if !delay.is_zero() {
            let delay_ms = delay.as_millis();
            info!(signal, delay.ms = %delay_ms, "not ready any more; listeners go on until balancers have seen it");
        }
        self.set_announced();
    }

    fn set_announced(&self) {
        self.is_announced.store(true, Ordering::Relaxed);
        self.announced.cancel();
    }

    /// What follows from the first signal: the request after the delay, and at a second signal that nothing is waited for.
    async fn end(&self, first: &str, delay: impl Future<Output = ()>, second: impl Future<Output = &'static str>) {
        let delayed = async {
            delay.await;
            info!(signal = first, "stopping: draining what is in flight, a second signal ends at once");
            self.request();
            std::future::pending::<&'static str>().await
        };
        let second = tokio::select! {
            second = second => second,
            never = delayed => never,
        };
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
        let shutdown = Shutdown::on_signals(Duration::ZERO).unwrap();
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

    #[tokio::test]
    async fn after_the_first_signal_everything_goes_on_for_the_delay() {
        let shutdown = Shutdown::new();
        let ending = shutdown.clone();
        shutdown.announce("SIGTERM", Duration::from_secs(5));
        assert!(
            shutdown.is_announced() && shutdown.announced.is_cancelled(),
            "who routes requests here hears of it at once"
        );
        let (over, delay) = tokio::sync::oneshot::channel::<()>();
        let delay = async { delay.await.unwrap() };
        let _end = tasks::spawn("end", async move { ending.end("SIGTERM", delay, std::future::pending()).await });
        tokio::task::yield_now().await;
        assert!(!shutdown.is_requested());
        over.send(()).unwrap();
        shutdown.requested().await;
        assert!(!shutdown.forced.is_cancelled());
    }

    #[tokio::test]
    async fn a_second_signal_does_not_wait_for_the_delay() {
        let shutdown = Shutdown::new();
        shutdown.end("SIGTERM", std::future::pending(), std::future::ready("SIGINT")).await;
        assert!(shutdown.is_requested() && shutdown.forced.is_cancelled());
    }

    #[test]
    fn what_fails_is_announced_and_requested_at_once() {
        let shutdown = Shutdown::new();
        shutdown.request();
        assert!(shutdown.is_announced() && shutdown.announced.is_cancelled() && shutdown.is_requested());
    }

    #[test]
    fn a_drain_leaves_the_end_some_of_the_grace_period() {
        let drain = |grace_ms| drain_time(Duration::from_millis(grace_ms)).as_millis();
        assert_eq!([drain(30_000), drain(8_000), drain(0)], [25_000, 6_000, 0]);
    }
}
