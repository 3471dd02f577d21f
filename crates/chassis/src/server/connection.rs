//! One connection's state as its watchdog sees it: reading a head, serving, waiting for its peer to read, or idle.
//!
//! hyper's own header timeout begins with the first byte, also ends idle connections, and costs a timer per request. Here a
//! request costs a few stores; one timer per connection looks at them now and then, and two more are put off by one request
//! after another.
//!
//! Whom it counts against it knows too: its address until a request shows a token, then whoever the token is of (`holders`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::AbortHandle;
use parking_lot::Mutex;
use prometheus::IntGauge;
use schemas::ids::OrganizationId;
use tokio::sync::Notify;

use super::addresses::{self, AddressSlot};
use super::holders::{ConnectionHolder, HeldPlace, Holders};
use super::owed::{OwedAnswer, OwedAnswers, OwedMoment, UnreadAnswers};
use super::streams;
use super::timer::Timer;
use crate::clock;

/// Where a connection comes from. Who called through proxies is [`crate::proxies`]'s to say, for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// How long a connection may be in each state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From a request's first byte to the end of its head; for the first request from the accept on.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// Without the peer taking anything of an answer.
    pub(super) write: Duration,
    /// Requests that a connection may have under way at once.
    pub(super) streams: u32,
}

/// What a connection does.
#[derive(Debug)]
pub struct ConnectionState {
    peer: Peer,
    ip: Box<str>,
    born: Instant,
    /// Requests whose response is not written yet.
    busy: AtomicUsize,
    /// Milliseconds after `born` when the present state began.
    since_ms: AtomicU64,
    /// The first bytes of a request came, its head is not complete. A new connection is in its first head.
    head: AtomicBool,
    /// Frames of HTTP/2 are no heads.
    http2: AtomicBool,
    /// Responses whose next bytes wait for the peer.
    owed: OwedAnswers,
    /// Milliseconds after `born` since when the socket takes nothing; `TAKES` while it does.
    stuck_ms: AtomicU64,
    /// Bytes that the socket has taken.
    taken: AtomicU64,
    /// So much older it is than by the clock.
    #[cfg(test)]
    ahead_ms: AtomicU64,
    place: Mutex<ConnectionPlace>,
    /// Whose tokens it showed: `NOTHING`, `OPERATOR`, `SEVERAL`, or the mark of an organization.
    shown: AtomicU64,
    holders: Holders,
    /// It is to end, after the request it is at.
    going: Notify,
    /// It was served over HTTP/2 by a process that is about to stop, and is to be told so.
    parting: Notify,
    requests: IntGauge,
    /// For bodies and for everything after them: two, because a timer that is only ever put off is never registered anew.
    pub body_timer: Timer,
    /// For what comes after the body.
    pub request_timer: Timer,
}

/// Whom a connection counts against; given back on drop.
#[derive(Debug)]
enum ConnectionPlace {
    /// Its address: it showed no token.
    Address(#[expect(dead_code, reason = "held to be dropped")] Option<AddressSlot>),
    /// Whose token it showed.
    Held(#[expect(dead_code, reason = "held to be dropped")] HeldPlace),
    /// Nobody: it is the operator's.
    Operator,
}

/// `shown` before the first known token.
const NOTHING: u64 = 0;
/// `shown` after the operator's token.
const OPERATOR: u64 = 1;
/// `shown` after tokens of several organizations.
const SEVERAL: u64 = u64::MAX;

/// `shown` after tokens of one organization.
fn mark_of(organization: OrganizationId) -> u64 {
    let (_, random) = organization.0.as_u64_pair();
    random.saturating_add(OPERATOR + 1).min(SEVERAL - 1)
}

/// `stuck_ms` of a socket that takes what it is given.
const TAKES: u64 = u64::MAX;

/// Held while a request is served and its response written.
#[derive(Debug)]
pub(super) struct Busy {
    connection: Arc<ConnectionState>,
    /// Ends it alone.
    stream: Option<AbortHandle>,
}

/// What the watchdog does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionAction {
    /// Look again then.
    Wait(Instant),
    /// Idle too long: no further request.
    Close,
    /// A head comes too slowly.
    DropSlowHead,
    /// The peer does not read what it asked for.
    DropUnread,
    /// It does not read some of it, and other streams go on.
    ResetUnread,
}

// === impl ConnectionState ===

impl ConnectionState {
    pub(super) fn new(peer: SocketAddr, slot: Option<AddressSlot>, holders: Holders, requests: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            peer: Peer(peer),
            ip: peer.ip().to_canonical().to_string().into(),
            born: clock::instant(),
            busy: AtomicUsize::new(0),
            since_ms: AtomicU64::new(0),
            head: AtomicBool::new(true),
            http2: AtomicBool::new(false),
            owed: OwedAnswers::default(),
            stuck_ms: AtomicU64::new(TAKES),
            taken: AtomicU64::new(0),
            #[cfg(test)]
            ahead_ms: AtomicU64::new(0),
            place: Mutex::new(ConnectionPlace::Address(slot)),
            shown: AtomicU64::new(NOTHING),
            holders,
            going: Notify::new(),
            parting: Notify::new(),
            requests,
            body_timer: Timer::default(),
            request_timer: Timer::default(),
        })
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The client's address as text.
    #[must_use]
    pub fn ip(&self) -> &str {
        &self.ip
    }

    /// A request of this connection showed a token that is known, of an organization or (`None`) the operator's: the connection
    /// counts against that one instead of its address. It, or an idle one, may have to go for it, after what it is at.
    pub fn trust(self: &Arc<Self>, organization: Option<OrganizationId>) {
        let shown = self.shown.load(Ordering::Relaxed);
        if shown != SEVERAL && shown != organization.map_or(OPERATOR, mark_of) {
            self.count_anew(organization);
        }
    }

    fn count_anew(self: &Arc<Self>, organization: Option<OrganizationId>) {
        let mut place = self.place.lock();
        let shown = self.shown.load(Ordering::Relaxed);
        let (holder, mark) = match organization {
            None if shown == NOTHING => {
                *place = ConnectionPlace::Operator;
                return self.shown.store(OPERATOR, Ordering::Relaxed);
            }
            // Beside others' tokens the operator's changes nothing.
            None => return,
            Some(organization) if shown <= OPERATOR => {
                (ConnectionHolder::Organization(organization), mark_of(organization))
            }
            Some(organization) if shown == mark_of(organization) => return,
            Some(_) => (ConnectionHolder::Address(addresses::network(self.peer.0.ip())), SEVERAL),
        };
        match self.holders.take(holder, self) {
            Some(held) => *place = ConnectionPlace::Held(held),
            None => self.leave(),
        }
        self.shown.store(mark, Ordering::Relaxed);
    }

    /// It is to end, after the request it is at.
    pub(super) fn leave(&self) {
        self.going.notify_one();
    }

    /// Resolves when it is to end.
    pub(super) async fn told_to_leave(&self) {
        self.going.notified().await;
    }

    /// An answer of HTTP/2 cannot say that its connection ends: a frame of the connection's own does.
    pub(super) fn part(&self) {
        self.parting.notify_one();
    }

    /// Resolves when that is to be said.
    pub(super) async fn told_to_part(&self) {
        self.parting.notified().await;
    }

    /// Whether a request has come over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Since when it has been idle; `None` in a request, or in the head of one.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = !self.is_busy() && !self.head.load(Ordering::Relaxed);
        is_idle.then(|| self.at(self.since_ms.load(Ordering::Relaxed)))
    }

    /// A request's head is complete.
    pub(super) fn enter(self: &Arc<Self>, version: http::Version) -> Busy {
        if version == http::Version::HTTP_2 {
            self.http2.store(true, Ordering::Relaxed);
        }
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.requests.inc();
        Busy { connection: Arc::clone(self), stream: streams::end_of_current() }
    }

    /// Whether a request is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Bytes came; outside a request they begin a head.
    pub(super) fn received(&self) {
        if self.is_busy() || self.head.load(Ordering::Relaxed) || self.http2.load(Ordering::Relaxed) {
            return;
        }
        self.begin(true);
    }

    /// The socket took so many bytes, or (`None`) could not take any.
    pub(super) fn wrote(&self, taken: Option<usize>) {
        let stuck = self.stuck_ms.load(Ordering::Relaxed) != TAKES;
        if taken.is_some() == stuck {
            self.stuck_ms.store(if stuck { TAKES } else { self.age_ms() }, Ordering::Relaxed);
        }
        self.taken.fetch_add(taken.unwrap_or_default() as u64, Ordering::Relaxed);
    }

    fn begin(&self, head: bool) {
        self.since_ms.store(self.age_ms(), Ordering::Relaxed);
        self.head.store(head, Ordering::Relaxed);
    }

    fn age_ms(&self) -> u64 {
        self.age_at(self.now())
    }

    /// For its watchdog.
    pub(super) fn now(&self) -> Instant {
        let now = clock::instant();
        #[cfg(test)]
        let now = now + Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed));
        now
    }

    /// As after so many milliseconds more.
    #[cfg(test)]
    pub(super) fn grow_old(&self, ms: u64) {
        self.ahead_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn age_at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(TAKES - 1)
    }

    fn at(&self, ms: u64) -> Instant {
        self.born + Duration::from_millis(ms)
    }

    fn owed_moment(&self, now: Instant, patience: Patience) -> OwedMoment {
        OwedMoment {
            now_ms: self.age_at(now),
            taken: self.taken.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            patience_ms: u64::try_from(patience.write.as_millis()).unwrap_or(TAKES),
            streams: patience.streams,
        }
    }

    /// Ends the streams whose answers the peer does not read; how many.
    pub(super) fn reset_unread(&self, now: Instant, patience: Patience) -> usize {
        self.owed.end_unread(self.owed_moment(now, patience))
    }

    /// What to do about the connection. Looks again soon enough that a state which begins right after is judged in time.
    pub(super) fn verdict(&self, now: Instant, patience: Patience) -> ConnectionAction {
        let soon = now + patience.head.min(patience.write);
        let stuck_ms = Some(self.stuck_ms.load(Ordering::Relaxed)).filter(|ms| *ms != TAKES);
        let stuck = stuck_ms.map(|ms| self.at(ms) + patience.write);
        if stuck.is_some_and(|end| end <= now) {
            return ConnectionAction::DropUnread;
        }
        let waiting = match self.owed.unread(self.owed_moment(now, patience)) {
            UnreadAnswers::None(end_ms) => end_ms.map(|ms| self.at(ms)),
            UnreadAnswers::Streams => return ConnectionAction::ResetUnread,
            UnreadAnswers::Connection => return ConnectionAction::DropUnread,
        };
        let soon = stuck.into_iter().chain(waiting).min().map_or(soon, |end| end.min(soon));
        if self.is_busy() {
            return ConnectionAction::Wait(soon);
        }
        let since = self.at(self.since_ms.load(Ordering::Relaxed));
        let (limit, end) = if self.head.load(Ordering::Relaxed) {
            (patience.head, ConnectionAction::DropSlowHead)
        } else {
            (patience.idle, ConnectionAction::Close)
        };
        if since + limit <= now { end } else { ConnectionAction::Wait((since + limit).min(soon)) }
    }
}

// === impl Busy ===

impl Busy {
    /// The next bytes of the response wait for the peer.
    pub(super) fn owe(&self) -> OwedAnswer {
        let connection = &self.connection;
        connection.owed.add(connection.age_ms(), connection.taken.load(Ordering::Relaxed), self.stream.clone())
    }

    /// The peer made room for them.
    pub(super) fn paid(&self, owed: OwedAnswer) {
        self.connection.owed.remove(owed, self.connection.age_ms());
    }

    pub(super) fn is_http2(&self) -> bool {
        self.connection.http2.load(Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.connection.requests.dec();
        if self.connection.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.connection.begin(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(10),
        streams: 100,
    };

    fn state() -> Arc<ConnectionState> {
        let gauge = IntGauge::new("requests", "Requests.").unwrap();
        let holders = Holders::new(Arc::new(Semaphore::new(1)), 1);
        ConnectionState::new("[::ffff:127.0.0.1]:80".parse().unwrap(), None, holders, gauge)
    }

    fn verdict(state: &ConnectionState, seconds: u64) -> ConnectionAction {
        state.verdict(state.born + Duration::from_secs(seconds), PATIENCE)
    }

    #[test]
    fn the_first_head_has_seconds_from_the_accept_on_whatever_comes_of_it() {
        for sent in [false, true] {
            let state = state();
            if sent {
                state.received();
            }
            assert!(matches!(verdict(&state, 4), ConnectionAction::Wait(_)));
            assert_eq!(verdict(&state, 6), ConnectionAction::DropSlowHead);
        }
    }

    #[test]
    fn a_head_has_seconds_an_idle_connection_more_and_a_busy_one_forever() {
        let state = state();
        let busy = state.enter(http::Version::HTTP_11);
        assert!(matches!(verdict(&state, 1_000), ConnectionAction::Wait(_)));
        drop(busy);
        assert!(matches!(verdict(&state, 74), ConnectionAction::Wait(_)));
        assert_eq!(verdict(&state, 76), ConnectionAction::Close);
        state.received();
        assert!(matches!(verdict(&state, 4), ConnectionAction::Wait(_)));
        assert_eq!(verdict(&state, 6), ConnectionAction::DropSlowHead);
    }

    #[test]
    fn frames_of_http2_between_requests_are_no_slow_heads_and_put_nothing_off() {
        let state = state();
        drop(state.enter(http::Version::HTTP_2));
        state.received();
        assert!(matches!(verdict(&state, 60), ConnectionAction::Wait(_)));
        assert_eq!(verdict(&state, 76), ConnectionAction::Close);
    }

    #[test]
    fn an_answer_that_is_not_read_ends_the_connection_and_one_that_moves_does_not() {
        let state = state();
        let busy = state.enter(http::Version::HTTP_2);
        let owed = busy.owe();
        assert!(matches!(verdict(&state, 9), ConnectionAction::Wait(_)));
        assert_eq!(verdict(&state, 11), ConnectionAction::DropUnread);
        busy.paid(owed);
        assert!(
            matches!(verdict(&state, 1_000), ConnectionAction::Wait(_)),
            "now it is the handler that takes its time"
        );
    }

    #[test]
    fn a_socket_that_takes_nothing_ends_the_connection() {
        let state = state();
        let _busy = state.enter(http::Version::HTTP_11);
        state.wrote(None);
        assert_eq!(verdict(&state, 11), ConnectionAction::DropUnread);
        state.wrote(Some(1));
        assert!(matches!(verdict(&state, 11), ConnectionAction::Wait(_)));
    }

    #[test]
    fn mapped_addresses_are_shown_as_what_they_are() {
        assert_eq!(state().ip(), "127.0.0.1");
    }
}
