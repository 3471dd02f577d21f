//! The pool's book: per origin what is kept, what is shared, who waits, what is under way. Nothing here waits or connects, and
//! what is to be closed is handed out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use rustls::ClientConfig;
use tokio::sync::oneshot;

use super::book::{OriginBook, SharedConnection, Waiter};
use super::connect::ConnectPhase;
use super::http1::Http1;
use super::http2::Http2;
use super::key::{ConnectionKey, Holder, OriginRef};
use super::rules::{PoolLimits, PoolTotals, Speaks};
use super::slot::{PoolSlot, SlotPlace};
use super::why::NoConnection;
use super::{Carrier, Connect, PoolShared};

/// All origins.
#[derive(Debug, Default)]
pub(super) struct PooledOrigins {
    known: HashMap<Arc<ConnectionKey>, OriginBook>,
    totals: PoolTotals,
    /// Origins that need more connects than all may have at once, in order.
    held: VecDeque<Arc<ConnectionKey>>,
}

/// What a request can use.
#[derive(Debug)]
pub(super) enum Usable {
    Kept(Box<Http1>),
    Shared(Arc<Http2>),
}

/// What is to be closed, once nothing is locked any more.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) kept: VecDeque<Box<Http1>>,
    pub(super) shared: Vec<Arc<Http2>>,
}

/// What the end of a stream leaves.
#[derive(Debug, Default)]
pub(super) struct StreamEnd {
    /// Its connection, if that was the last.
    gone: Option<Arc<Http2>>,
    /// Others wait, and there is no room for them.
    pub(super) needs_more: bool,
}

// === impl PooledOrigins ===

impl PooledOrigins {
    /// A connection with room; it counts as used from here on.
    pub(super) fn find(&mut self, origin: OriginRef<'_>, now: Instant) -> Option<Usable> {
        let book = self.known.get_mut(&origin)?;
        if let Some(mut kept) = book.kept.pop_back() {
            kept.place(SlotPlace::Used);
            book.begin(now);
            return Some(Usable::Kept(kept));
        }
        let connection = book.room(now)?;
        book.begin(now);
        Some(Usable::Shared(connection))
    }

    /// A request waits for a connection.
    pub(super) fn queue(
        &mut self,
        origin: OriginRef<'_>,
        tls: Option<Arc<ClientConfig>>,
        answer: oneshot::Sender<Result<Carrier, NoConnection>>,
        now: Instant,
    ) -> (Arc<ConnectionKey>, Arc<ConnectPhase>) {
        let key = self.known.get_key_value(&origin).map(|(key, _)| Arc::clone(key));
        let key = key.unwrap_or_else(|| Arc::new(origin.to_key()));
        let book = self.known.entry(Arc::clone(&key)).or_insert_with(|| OriginBook::new(tls));
        book.waiting.push_back(Waiter { since: now, answer });
        (key, Arc::clone(&book.phase))
    }

    /// The connects that an origin needs now. They count as begun.
    pub(super) fn plan(&mut self, pool: &Arc<PoolShared>, key: &Arc<ConnectionKey>, gone: &mut Gone) -> Vec<Connect> {
        let Some(book) = self.known.get_mut(key) else { return Vec::new() };
        book.waiting.retain(|waiter| !waiter.answer.is_closed());
        let plan = pool.limits.plan(book.need(), self.totals);
        let room = self.evict(plan.evict, gone);
        let Some(book) = self.known.get_mut(key) else { return Vec::new() };
        let connects = plan.connects - (plan.evict - room);
        if (plan.is_held || room < plan.evict) && !self.held.contains(key) {
            self.held.push_back(Arc::clone(key));
        }
        book.connecting += connects;
        book.open += connects;
        self.totals.connecting += connects;
        self.totals.open += connects;
        let connect = |_| {
            let (tls, phase) = (book.tls.clone(), Arc::clone(&book.phase));
            Connect { slot: PoolSlot::new(pool, key), tls, phase }
        };
        (0..connects).map(connect).collect()
    }

    /// Takes the connections that were idle for longest, of whomever. They are counted until they are dropped.
    fn evict(&mut self, count: usize, gone: &mut Gone) -> usize {
        for evicted in 0..count {
            let idle = self.known.values_mut().filter(|book| !book.kept.is_empty());
            let Some(book) = idle.min_by_key(|book| book.kept.front().map(|kept| kept.used)) else { return evicted };
            gone.kept.extend(book.kept.pop_front());
        }
        count
    }

    /// A connection was made.
    pub(super) fn connected(&mut self, slot: &mut PoolSlot, place: SlotPlace, speaks: Speaks) {
        self.totals.connecting -= 1;
        slot.place = place;
        if let Some(book) = self.known.get_mut(&slot.key) {
            book.connecting -= 1;
            book.speaks = speaks;
            if place == SlotPlace::Used {
                book.used += 1;
            }
        }
    }

    /// A connect failed: the oldest request that waits fails with it. Where the time ran out, so do all that waited through it,
    /// and where the policy refuses the name, all.
    pub(super) fn failed(&mut self, key: &Arc<ConnectionKey>, error: &NoConnection, began: Instant) {
        let Some(book) = self.known.get_mut(key) else { return };
        let is_late = error.is_late;
        let mut is_told = false;
        for waiter in std::mem::take(&mut book.waiting) {
            if !is_told || error.is_refused || (is_late && waiter.since <= began) {
                is_told |= waiter.answer.send(Err(error.clone())).is_ok();
            } else {
                book.waiting.push_back(waiter);
            }
        }
    }

    /// A connection is free. Returns it if nobody wants it.
    pub(super) fn offer(&mut self, mut kept: Box<Http1>, limits: &PoolLimits, now: Instant) -> Option<Box<Http1>> {
        let Some(book) = kept.slot.as_ref().and_then(|slot| self.known.get_mut(&slot.key)) else { return Some(kept) };
        // One that is new is somebody's, however short it would be kept.
        if kept.served > 0 && limits.is_over(kept.born, kept.used, kept.promised, now) {
            return Some(kept);
        }
        while let Some(waiter) = book.waiting.pop_front() {
            match waiter.answer.send(Ok(Carrier::Http1(kept))) {
                Ok(()) => {
                    book.peak.note(book.used, now);
                    return None;
                }
                Err(Ok(Carrier::Http1(unsent))) => kept = unsent,
                Err(_never) => return None,
            }
        }
        let used = book.used.saturating_sub(1);
        if book.kept.len() + used >= book.peak.keeps(book.used, now) {
            return Some(kept);
        }
        book.used = used;
        kept.place(SlotPlace::Kept);
        book.kept.push_back(kept);
        None
    }

    /// A connection that many may use was made.
    pub(super) fn share(&mut self, connection: &Arc<Http2>, now: Instant, stream: impl Fn(Arc<Http2>) -> Carrier) {
        let Some(book) = connection.slot.as_ref().and_then(|slot| self.known.get_mut(&slot.key)) else { return };
        let shared = SharedConnection { connection: Arc::clone(connection), streams: 0, used: now, is_retired: false };
        book.shared.push(shared);
        book.hand_out(now, &stream);
    }

    /// A request of a shared connection ended: the next may begin.
    pub(super) fn end_stream(
        &mut self,
        connection: &Arc<Http2>,
        now: Instant,
        stream: impl Fn(Arc<Http2>) -> Carrier,
    ) -> StreamEnd {
        let mut end = StreamEnd::default();
        let slot = connection.slot.as_ref();
        let Some(book) = slot.and_then(|slot| self.known.get_mut(&slot.key)) else { return end };
        book.used = book.used.saturating_sub(1);
        let at = book.shared.iter().position(|shared| Arc::ptr_eq(&shared.connection, connection));
        if let Some(at) = at {
            let shared = &mut book.shared[at];
            shared.streams = shared.streams.saturating_sub(1);
            shared.used = now;
            let is_last = shared.streams == 0 && (shared.is_retired || connection.is_closed());
            end.gone = is_last.then(|| book.shared.swap_remove(at).connection);
        }
        book.hand_out(now, &stream);
        end.needs_more = !book.waiting.is_empty();
        end
    }

    /// No request goes over this connection any more.
    pub(super) fn retire(&mut self, connection: &Arc<Http2>) {
        let Some(book) = connection.slot.as_ref().and_then(|slot| self.known.get_mut(&slot.key)) else { return };
        let of = book.shared.iter_mut().find(|shared| Arc::ptr_eq(&shared.connection, connection));
        if let Some(shared) = of {
            shared.is_retired = true;
        }
    }

    /// What is kept for an origin and was not used since.
    pub(super) fn take_kept(&mut self, key: &Arc<ConnectionKey>, since: Instant) -> Gone {
        let mut gone = Gone::default();
        if let Some(book) = self.known.get_mut(key) {
            // The one used last is at the end.
            let old = book.kept.iter().take_while(|kept| kept.used < since).count();
            gone.kept.extend(book.kept.drain(..old));
        }
        gone
    }

    /// A connection is gone. Returns an origin that waits for the room it leaves.
    pub(super) fn closed(&mut self, key: &Arc<ConnectionKey>, place: SlotPlace) -> Option<Arc<ConnectionKey>> {
        self.totals.open -= 1;
        self.totals.connecting -= usize::from(place == SlotPlace::Connecting);
        if let Some(book) = self.known.get_mut(key) {
            book.open -= 1;
            book.connecting -= usize::from(place == SlotPlace::Connecting);
            book.used -= usize::from(place == SlotPlace::Used);
        }
        self.held.pop_front()
    }

    /// An origin that waits for room.
    pub(super) fn next_held(&mut self) -> Option<Arc<ConnectionKey>> {
        self.held.pop_front()
    }

    /// Takes out what is over at an origin, and forgets it when nothing is left.
    pub(super) fn sweep(&mut self, key: &Arc<ConnectionKey>, limits: &PoolLimits, now: Instant) -> Gone {
        let mut gone = Gone::default();
        let Some(book) = self.known.get_mut(key) else { return gone };
        book.sweep(limits, now, &mut gone);
        if book.open == 0 && book.waiting.is_empty() {
            self.known.remove(key);
        }
        gone
    }

    /// Gives up what belongs to subscriptions that are not what they were: what is kept at once, the rest when it is free.
    pub(super) fn forget_holders(&mut self, is_current: impl Fn(Holder) -> bool) -> Gone {
        let mut gone = Gone::default();
        let is_gone = |key: &ConnectionKey| key.holder.is_some_and(|holder| !is_current(holder));
        self.known.iter_mut().filter(|(key, _)| is_gone(key)).for_each(|(_, book)| {
            gone.kept.extend(book.kept.drain(..));
            book.shared.iter_mut().for_each(|shared| shared.is_retired = true);
        });
        gone
    }

    /// Whether an origin waits for room that others have, and has no connect under way itself.
    pub(super) fn lacks_room(&self, key: &Arc<ConnectionKey>) -> bool {
        self.held.contains(key) && self.known.get(key).is_some_and(|book| book.connecting == 0)
    }

    /// Origins that are known.
    pub(super) fn keys(&self) -> Vec<Arc<ConnectionKey>> {
        self.known.keys().cloned().collect()
    }

    /// What all origins have.
    pub(super) fn totals(&self) -> PoolTotals {
        self.totals
    }
}
