//! One connection's state as its watchdog sees it: reading a head, serving, or idle.
//!
//! hyper's own header timeout also ends idle connections, and costs a timer per request. Here a request costs a few stores;
//! one timer per connection looks at them now and then, and two more are put off by one request after another.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chassis::clock;
use chassis::metrics::IntGauge;
use parking_lot::Mutex;
use tokio::time::Sleep;

/// The client's address, in the extensions of a request that goes to the fallback. What proxies claim is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// How long a connection may be in each state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From a request's first byte to the end of its head.
    pub(crate) head: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
}

/// What a connection does.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    peer: Peer,
    ip: Box<str>,
    born: Instant,
    /// Requests whose response is not written yet.
    busy: AtomicUsize,
    /// Milliseconds after `born` when the present state began.
    since_ms: AtomicU64,
    /// The first bytes of a request came, its head is not complete.
    head: AtomicBool,
    /// Frames of HTTP/2 are no heads.
    http2: AtomicBool,
    requests: IntGauge,
    /// For bodies and for everything after them: two, because a timer that is only ever put off is never registered anew.
    pub(crate) body_timer: Timer,
    pub(crate) request_timer: Timer,
}

/// A timer that the requests of a connection use one after the other. Arming a new one takes a lock of the whole runtime,
/// and disarming it another; putting off an armed one takes none.
#[derive(Debug, Default)]
pub(crate) struct Timer(Mutex<Option<Pin<Box<Sleep>>>>);

/// Held while a request is served and its response written.
#[derive(Debug)]
pub(crate) struct Busy(Arc<ConnectionState>);

/// What the watchdog does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchdogAction {
    /// Look again then.
    Wait(Instant),
    /// Idle too long: no further request.
    Close,
    /// A head comes too slowly.
    Drop,
}

// === impl ConnectionState ===

impl ConnectionState {
    pub(crate) fn new(peer: SocketAddr, requests: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            peer: Peer(peer),
            ip: peer.ip().to_canonical().to_string().into(),
            born: clock::instant(),
            busy: AtomicUsize::new(0),
            since_ms: AtomicU64::new(0),
            head: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            requests,
            body_timer: Timer::default(),
            request_timer: Timer::default(),
        })
    }

    /// A request's head is complete.
    pub(crate) fn enter(self: &Arc<Self>, version: http::Version) -> Busy {
        if version == http::Version::HTTP_2 {
            self.http2.store(true, Ordering::Relaxed);
        }
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.requests.inc();
        Busy(Arc::clone(self))
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// The peer's address as text.
    pub(crate) fn ip(&self) -> &str {
        &self.ip
    }

    /// Whether a request is being served.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Bytes came; outside a request they begin a head.
    pub(crate) fn received(&self, first: &[u8]) {
        if self.is_busy() || self.head.load(Ordering::Relaxed) {
            return;
        }
        if first.starts_with(b"PRI") {
            self.http2.store(true, Ordering::Relaxed);
        }
        self.begin(true);
    }

    fn begin(&self, head: bool) {
        let since = clock::instant().saturating_duration_since(self.born).as_millis();
        self.since_ms.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.head.store(head, Ordering::Relaxed);
    }

    /// What to do about the connection. Looks again soon enough that a head which begins right after is judged in time.
    pub(crate) fn verdict(&self, now: Instant, patience: Patience) -> WatchdogAction {
        let since = self.born + Duration::from_millis(self.since_ms.load(Ordering::Relaxed));
        if self.is_busy() {
            return WatchdogAction::Wait(now + patience.head);
        }
        let in_head = self.head.load(Ordering::Relaxed) && !self.http2.load(Ordering::Relaxed);
        let (limit, end) =
            if in_head { (patience.head, WatchdogAction::Drop) } else { (patience.idle, WatchdogAction::Close) };
        if since + limit <= now { end } else { WatchdogAction::Wait((since + limit).min(now + patience.head)) }
    }
}

// === impl Busy ===

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.dec();
        if self.0.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.begin(false);
        }
    }
}

// === impl Timer ===

impl Timer {
    /// The future's output; `None` if it takes longer. It comes pinned, because by value it would stand in this future twice.
    /// Another request of the connection that runs meanwhile, as in HTTP/2, has a timer of its own.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, future: Pin<&mut F>) -> Option<F::Output> {
        let until = tokio::time::Instant::now() + limit;
        let spare = self.0.lock().take();
        let mut timer = match spare {
            Some(mut timer) => {
                timer.as_mut().reset(until);
                timer
            }
            None => Box::pin(tokio::time::sleep_until(until)),
        };
        let output = tokio::select! {
            biased;
            output = future => Some(output),
            () = timer.as_mut() => None,
        };
        *self.0.lock() = Some(timer);
        output
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(5), idle: Duration::from_secs(75) };

    fn state() -> Arc<ConnectionState> {
        let gauge = IntGauge::new("requests", "Requests.").unwrap();
        ConnectionState::new("[::ffff:127.0.0.1]:80".parse().unwrap(), gauge)
    }

    #[test]
    fn a_head_has_seconds_an_idle_connection_more_and_a_busy_one_forever() {
        let state = state();
        let later = |seconds| state.born + Duration::from_secs(seconds);
        assert!(matches!(state.verdict(later(74), PATIENCE), WatchdogAction::Wait(_)));
        assert_eq!(state.verdict(later(76), PATIENCE), WatchdogAction::Close);
        state.received(b"POST /");
        assert!(matches!(state.verdict(later(4), PATIENCE), WatchdogAction::Wait(_)));
        assert_eq!(state.verdict(later(6), PATIENCE), WatchdogAction::Drop);
        let busy = state.enter(http::Version::HTTP_11);
        assert!(matches!(state.verdict(later(1_000), PATIENCE), WatchdogAction::Wait(_)));
        drop(busy);
        assert_eq!(state.verdict(later(1_000), PATIENCE), WatchdogAction::Close);
    }

    #[test]
    fn frames_of_http2_are_no_slow_heads() {
        let state = state();
        state.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert!(matches!(state.verdict(state.born + Duration::from_secs(60), PATIENCE), WatchdogAction::Wait(_)));
    }

    #[tokio::test]
    async fn a_timer_serves_one_request_after_another_and_several_at_once() {
        let (timer, short, long) = (Timer::default(), Duration::from_millis(1), Duration::from_secs(3_600));
        for _ in 0..3 {
            assert_eq!(timer.within(long, pin!(std::future::ready(7))).await, Some(7));
            assert_eq!(timer.within(short, pin!(std::future::pending::<()>())).await, None, "armed for long before");
        }
        let never = pin!(std::future::pending::<()>());
        let inner = pin!(timer.within(short, never));
        assert_eq!(timer.within(long, inner).await, Some(None), "each has its own time");
    }

    #[test]
    fn mapped_addresses_are_shown_as_what_they_are() {
        assert_eq!(state().ip(), "127.0.0.1");
    }
}
