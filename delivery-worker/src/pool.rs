//! Connections, kept and shared.
//!
//! ```text
//! request --take--> kept HTTP/1.1, or room in a shared HTTP/2? --yes--> it goes out at once
//!                    | no: it waits in its origin's queue                 ^
//!                    v                                                    | the oldest that waits gets it
//!                 rules.rs: how many connects? --> connect.rs ------------+
//!                                                                         |
//!                 given back, or the end of a stream ---------------------+--nobody waits--> kept as rules.rs says
//! ```
//!
//! A connect belongs to its origin and not to a request: it has one deadline from the name to the preface, and what comes of it
//! is the oldest request's. So no request waits for a slow handshake while another connection is free, and nothing goes on in
//! the background that is not counted and bounded.
//!
//! Decisions are in `rules.rs`, pure; `origins.rs` is the book they are made from; here is what acts. What is closed is dropped
//! outside the lock.

mod book;
mod carrier;
mod connect;
mod cork;
mod descriptors;
mod egress;
mod http1;
mod http2;
mod key;
mod origins;
mod rules;
mod sessions;
mod slot;
#[cfg(test)]
mod tests;
mod turns;
mod way;
mod why;
mod wire;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use chassis::limited::Limited;
use chassis::{clock, tasks};
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::error::Elapsed;

use crate::classify::NoAnswer;
use crate::resolve::TargetResolver;

pub(crate) use self::carrier::{Carrier, SendResult, Sending};
pub(crate) use self::descriptors::fit_descriptors;
pub(crate) use self::http1::{Http1, host_header};
pub(crate) use self::http2::Http2Stream;
pub(crate) use self::key::{ClientIdentity, Holder, OriginRef};
pub(crate) use self::rules::PoolLimits;
pub(crate) use self::way::Way;
#[cfg(test)]
pub(crate) use self::way::{ConnectTimes, Protocol};
pub(crate) use self::why::{AttemptPhase, NoConnection, of_cause, of_io};

use self::connect::{ConnectPhase, Dialer, NewConnection, SPARE_SOCKETS};
use self::http2::Http2;
use self::key::ConnectionKey;
use self::origins::{Gone, PooledOrigins, Usable};
use self::sessions::TlsSessions;
use self::slot::{PoolSlot, SlotPlace};

/// Most bytes of a response head. Hyper's own default is 400 KiB per connection.
const HEAD_LIMIT: usize = 64 * 1024;
/// How often kept connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// Between two lines of a log that say the same of an egress proxy.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// See the module. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPool {
    shared: Arc<PoolShared>,
}

#[derive(Debug)]
struct PoolShared {
    limits: PoolLimits,
    dialer: Dialer,
    origins: Mutex<PooledOrigins>,
    is_swept: AtomicBool,
}

/// What a request got.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Something to go out with.
    Now(Carrier),
    /// A place in the queue.
    Waits(QueuePlace),
}

/// A place in an origin's queue.
#[derive(Debug)]
pub(crate) struct QueuePlace {
    key: Arc<ConnectionKey>,
    answer: oneshot::Receiver<Result<Carrier, NoConnection>>,
    phase: Arc<ConnectPhase>,
}

/// A connect that is due.
#[derive(Debug)]
struct Connect {
    slot: PoolSlot,
    tls: Option<Arc<ClientConfig>>,
    phase: Arc<ConnectPhase>,
}

// === impl ConnectionPool ===

impl ConnectionPool {
    /// A pool without connections. It connects to what the resolver allows, and with this TLS where no identity brings its own.
    pub(crate) fn new(resolver: TargetResolver, tls: Arc<ClientConfig>, limits: PoolLimits) -> Self {
        let sessions = Arc::new(TlsSessions::new());
        let (spare, limited) = (Semaphore::new(SPARE_SOCKETS), Limited::new(LINE_EVERY));
        let dialer = Dialer { resolver, tls, sessions, spare, limited };
        let shared = PoolShared { limits, dialer, origins: Mutex::default(), is_swept: AtomicBool::new(false) };
        Self { shared: Arc::new(shared) }
    }

    /// A connection for a request, or a place in its origin's queue.
    pub(crate) fn take(&self, origin: OriginRef<'_>, identity: Option<&ClientIdentity>) -> Taken {
        let now = clock::instant();
        loop {
            // One look: what is given back between two of them would lie there while its request waits.
            let looked = {
                let mut origins = self.shared.origins.lock();
                let found = origins.find(origin, now);
                found.ok_or_else(|| self.queue(&mut origins, (origin, identity), now))
            };
            match looked {
                Ok(Usable::Kept(mut kept)) => {
                    let is_over = self.shared.limits.is_over(kept.born, kept.used, kept.promised, now);
                    if !is_over && kept.is_alive() {
                        return Taken::Now(Carrier::Http1(kept));
                    }
                    // Dropped here: the next one is looked at.
                }
                Ok(Usable::Shared(connection)) => return Taken::Now(self.shared.stream(connection)),
                Err((place, connects, gone)) => {
                    self.shared.begin(connects);
                    drop(gone);
                    return Taken::Waits(place);
                }
            }
        }
    }

    fn queue(
        &self,
        origins: &mut PooledOrigins,
        (origin, identity): (OriginRef<'_>, Option<&ClientIdentity>),
        now: Instant,
    ) -> (QueuePlace, Vec<Connect>, Gone) {
        let (sender, answer) = oneshot::channel();
        let tls = identity.map(|identity| Arc::clone(&identity.tls));
        let (key, phase) = origins.queue(origin, tls, sender, now);
        let (connects, gone) = origins.go_on(&self.shared, &key);
        (QueuePlace { key, answer, phase }, connects, gone)
    }

    /// Why a request that waited for so long has no connection.
    pub(crate) fn waited(&self, waiting: &QueuePlace, limit: Duration) -> NoConnection {
        if self.shared.origins.lock().lacks_room(&waiting.key) {
            let reason = "this worker has no room for another connection";
            return NoConnection::new(NoAnswer::Local, AttemptPhase::Connect, None, reason);
        }
        let (phase, address) = waiting.phase.now();
        let late = NoConnection::late(phase, address, limit);
        // What this worker lacks is its own, however long it is waited for.
        if late.error == NoAnswer::Local { late } else { NoConnection { error: NoAnswer::Timeout, ..late } }
    }

    /// Gives a connection back that carried a request to its end.
    pub(crate) fn give(&self, mut kept: Box<Http1>) {
        let now = clock::instant();
        kept.served(now);
        self.shared.offer(kept, now);
    }

    /// A connection went silent, or was closed under a request that began then: nothing more goes over it, nor over what is kept
    /// for its origin and was not heard of since. Requests that are under way end as they would.
    pub(crate) fn condemn(&self, carrier: &Carrier, since: Instant) {
        match carrier {
            Carrier::Http1(connection) => {
                let Some(slot) = &connection.slot else { return };
                let gone = self.shared.origins.lock().take_kept(&slot.key, since);
                drop(gone);
            }
            Carrier::Http2(stream) => {
                let connection = stream.connection();
                self.shared.origins.lock().retire(connection);
                if let Some(slot) = &connection.slot {
                    self.shared.go_on(&slot.key);
                }
            }
        }
    }

    /// Gives up connections of subscriptions that are not what they were.
    pub(crate) fn keep_current(&self, is_current: impl Fn(Holder) -> bool) {
        let gone = self.shared.origins.lock().forget_holders(is_current);
        drop(gone);
    }

    /// Connections, those under way included.
    pub(crate) fn open(&self) -> usize {
        self.shared.origins.lock().totals().open
    }
}

// === impl PoolShared ===

impl PoolShared {
    fn stream(self: &Arc<Self>, connection: Arc<Http2>) -> Carrier {
        Carrier::Http2(Http2Stream::new(self, connection))
    }

    fn begin(self: &Arc<Self>, connects: Vec<Connect>) {
        // While a runtime ends, requests and connections are dropped by it; nothing new begins then.
        if connects.is_empty() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            drop(tasks::spawn("connection sweep", sweep(Arc::downgrade(self))));
        }
        for connect in connects {
            drop(tasks::spawn("connect", Arc::clone(self).connect(connect)));
        }
    }

    async fn connect(self: Arc<Self>, connect: Connect) {
        let Connect { mut slot, tls, phase } = connect;
        let began = clock::instant();
        let key = Arc::clone(&slot.key);
        let dial = self.dialer.dial(&key, tls, &phase);
        let made = self.wait_for(dial, &mut slot).await;
        let made = made.unwrap_or_else(|_elapsed| {
            let (phase, address) = phase.now();
            Err(NoConnection::late(phase, address, self.limits.connect))
        });
        let now = clock::instant();
        match made {
            Ok(NewConnection::Http1(mut connection)) => {
                self.origins.lock().connected(&mut slot, SlotPlace::Used, rules::Speaks::Http1);
                connection.slot = Some(slot);
                self.offer(connection, now);
                self.go_on(&key);
            }
            Ok(NewConnection::Http2(mut connection)) => {
                let streams = connection.streams();
                self.origins.lock().connected(&mut slot, SlotPlace::Kept, rules::Speaks::Http2(streams));
                connection.slot = Some(slot);
                let connection = Arc::new(*connection);
                self.origins.lock().share(&connection, now, |connection| self.stream(connection));
                self.go_on(&key);
            }
            Err(error) => {
                self.origins.lock().failed(&mut slot, &error, began);
                // The slot is free for the next.
                drop(slot);
            }
        }
    }

    /// Waits until a connect has its end, and at most the time that it has. If it takes long it leaves its place to the next.
    async fn wait_for<T>(self: &Arc<Self>, dial: impl Future<Output = T>, slot: &mut PoolSlot) -> Result<T, Elapsed> {
        let mut dial = pin!(dial);
        if let Ok(made) = tokio::time::timeout(self.limits.patience, &mut dial).await {
            return Ok(made);
        }
        self.origins.lock().slow(slot, &self.limits);
        self.go_on(&slot.key);
        tokio::time::timeout(self.limits.connect.saturating_sub(self.limits.patience), dial).await
    }

    /// A connection that is free: for the oldest request that waits, or kept.
    fn offer(self: &Arc<Self>, kept: Box<Http1>, now: Instant) {
        let unwanted = self.origins.lock().offer(kept, &self.limits, now);
        drop(unwanted);
    }

    /// A request of a shared connection ended.
    fn end_stream(self: &Arc<Self>, connection: &Arc<Http2>) {
        let now = clock::instant();
        let ended = self.origins.lock().end_stream(connection, &self.limits, now, |next| self.stream(next));
        if let (true, Some(slot)) = (ended.needs_more, &connection.slot) {
            self.go_on(&slot.key);
        }
        drop(ended);
    }

    /// A connection is gone, or was never made.
    fn closed(self: &Arc<Self>, key: &Arc<ConnectionKey>, place: SlotPlace) {
        self.origins.lock().closed(key, place);
        // A connect that came to no end was dropped with its runtime: whatever begins now would be dropped as well.
        if !place.is_connecting() {
            self.go_on(key);
        }
    }

    /// Begins the connects that an origin needs now, and others whose turn it is.
    fn go_on(self: &Arc<Self>, key: &Arc<ConnectionKey>) {
        let (connects, gone) = self.origins.lock().go_on(self, key);
        self.begin(connects);
        drop(gone);
    }
}

/// Looks at what is kept, for as long as the pool lives.
async fn sweep(pool: Weak<PoolShared>) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        let keys = pool.origins.lock().keys();
        for key in keys {
            let gone = pool.origins.lock().sweep(&key, &pool.limits, clock::instant());
            drop(gone);
        }
    }
}

// === impl QueuePlace ===

impl QueuePlace {
    /// Waits for a connection.
    ///
    /// # Errors
    /// Why none can be made.
    pub(crate) async fn carrier(&mut self) -> Result<Carrier, NoConnection> {
        let answer = (&mut self.answer).await;
        let ended = |_gone| Err(NoConnection::new(NoAnswer::Local, self.phase.now().0, None, "this worker ends"));
        answer.unwrap_or_else(ended)
    }
}
