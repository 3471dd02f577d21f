//! One origin in the pool's book: its connections, its queue, and what it needs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use tokio::sync::oneshot;

use super::Carrier;
use super::connect::ConnectPhase;
use super::http1::Http1;
use super::http2::Http2;
use super::origins::Gone;
use super::rules::{Demand, OriginStanding, PoolLimits, RecentPeak, Speaks};
use super::slot::SlotPlace;
use super::why::NoConnection;

/// See the module.
#[derive(Debug)]
pub(super) struct OriginBook {
    /// The one used last at the end.
    pub(super) kept: VecDeque<Box<Http1>>,
    pub(super) shared: Vec<SharedConnection>,
    pub(super) waiting: VecDeque<Waiter>,
    pub(super) connecting: usize,
    pub(super) open: usize,
    /// Requests under way.
    pub(super) used: usize,
    pub(super) peak: RecentPeak,
    pub(super) speaks: Speaks,
    pub(super) standing: OriginStanding,
    /// The line it stands in for a connect, if it does.
    pub(super) line: Option<OriginStanding>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) phase: Arc<ConnectPhase>,
}

/// A connection that many use.
#[derive(Debug)]
pub(super) struct SharedConnection {
    pub(super) connection: Arc<Http2>,
    pub(super) streams: usize,
    pub(super) used: Instant,
    pub(super) is_retired: bool,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) since: Instant,
    pub(super) answer: oneshot::Sender<Result<Carrier, NoConnection>>,
}

// === impl OriginBook ===

impl OriginBook {
    pub(super) fn new(tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            kept: VecDeque::new(),
            shared: Vec::new(),
            waiting: VecDeque::new(),
            connecting: 0,
            open: 0,
            used: 0,
            peak: RecentPeak::default(),
            speaks: Speaks::Unknown,
            standing: OriginStanding::Unproven,
            line: None,
            tls,
            phase: Arc::new(ConnectPhase::new()),
        }
    }

    pub(super) fn need(&self) -> Demand {
        let Self { connecting, open, speaks, standing, .. } = *self;
        let shared = self.shared.iter().filter(|shared| shared.is_usable()).count();
        Demand { waiting: self.waiting.len(), connecting, open, shared, speaks, standing }
    }

    /// Forgets requests that have given up.
    pub(super) fn drop_gone(&mut self) {
        self.waiting.retain(|waiter| !waiter.answer.is_closed());
    }

    /// When each connection that nobody uses was last used.
    pub(super) fn idle(&self) -> impl Iterator<Item = Instant> {
        let shared = self.shared.iter().filter(|shared| shared.streams == 0).map(|shared| shared.used);
        self.kept.iter().map(|kept| kept.used).chain(shared)
    }

    /// Gives up the connection that was idle for longest.
    pub(super) fn evict(&mut self, gone: &mut Gone) {
        let shared = self.shared.iter().enumerate().filter(|(_, shared)| shared.streams == 0);
        let shared = shared.min_by_key(|(_, shared)| shared.used).map(|(at, shared)| (at, shared.used));
        let kept = self.kept.front().map(|kept| kept.used);
        match shared {
            Some((at, used)) if kept.is_none_or(|kept| used <= kept) => {
                gone.shared.push(self.shared.swap_remove(at).connection);
            }
            Some(_) | None => gone.kept.extend(self.kept.pop_front()),
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.used += 1;
        self.peak.note(self.used, now);
    }

    /// A shared connection that takes one more request; it counts.
    pub(super) fn room(&mut self, now: Instant) -> Option<Arc<Http2>> {
        let takes = |shared: &&mut SharedConnection| shared.is_usable() && shared.streams < shared.connection.streams();
        // The fullest that has room: what is not needed runs empty, and is given up.
        let shared = self.shared.iter_mut().filter(takes).max_by_key(|shared| shared.streams)?;
        shared.streams += 1;
        shared.used = now;
        Some(Arc::clone(&shared.connection))
    }

    /// Gives room in shared connections to those who wait.
    pub(super) fn hand_out(&mut self, now: Instant, stream: &impl Fn(Arc<Http2>) -> Carrier) {
        while let Some(waiter) = self.waiting.front() {
            if waiter.answer.is_closed() {
                self.waiting.pop_front();
                continue;
            }
            let Some(connection) = self.room(now) else { return };
            self.begin(now);
            let Some(waiter) = self.waiting.pop_front() else { return };
            if let Err(Ok(unsent)) = waiter.answer.send(Ok(stream(connection))) {
                // Whoever waited has gone this moment.
                self.take_back(unsent);
            }
        }
    }

    /// Undoes what counted for a stream, without ending it as one that was used.
    fn take_back(&mut self, carrier: Carrier) {
        let Carrier::Http2(stream) = carrier else { return };
        let Some(connection) = stream.forget() else { return };
        self.used = self.used.saturating_sub(1);
        let of = self.shared.iter_mut().find(|shared| Arc::ptr_eq(&shared.connection, &connection));
        if let Some(shared) = of {
            shared.streams = shared.streams.saturating_sub(1);
        }
    }

    pub(super) fn sweep(&mut self, limits: &PoolLimits, now: Instant, gone: &mut Gone) {
        self.drop_gone();
        let mut stays = VecDeque::with_capacity(self.kept.len());
        for mut kept in self.kept.drain(..) {
            if limits.is_over(kept.born, kept.used, kept.promised, now) || !kept.is_alive() {
                gone.kept.push_back(kept);
            } else {
                stays.push_back(kept);
            }
        }
        let keeps = self.peak.keeps(self.used, now);
        while !stays.is_empty() && stays.len() + self.used > keeps {
            gone.kept.extend(stays.pop_front());
        }
        self.kept = stays;
        let needed = match self.speaks {
            Speaks::Http2(streams) => keeps.div_ceil(streams.max(1)),
            Speaks::Unknown | Speaks::Http1 => 1,
        };
        let mut left = self.shared.iter().filter(|shared| !shared.is_retired).count();
        self.shared.retain_mut(|shared| {
            let is_idle = shared.streams == 0;
            let connection = &shared.connection;
            shared.is_retired |= connection.is_closed()
                || limits.is_over(connection.born, if is_idle { shared.used } else { now }, None, now)
                || (is_idle && left > needed);
            let ends = shared.is_retired && is_idle;
            if ends {
                left = left.saturating_sub(1);
                gone.shared.push(Arc::clone(connection));
            }
            !ends
        });
    }
}

impl SharedConnection {
    fn is_usable(&self) -> bool {
        !self.is_retired && !self.connection.is_closed()
    }
}

impl Http1 {
    pub(super) fn place(&mut self, place: SlotPlace) {
        if let Some(slot) = &mut self.slot {
            slot.place = place;
        }
    }
}
