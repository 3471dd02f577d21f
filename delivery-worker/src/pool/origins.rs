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
use super::rules::{OriginStanding, PoolLimits, PoolTotals, Speaks};
use super::slot::{PoolSlot, SlotPlace};
use super::turns::ConnectTurns;
use super::why::NoConnection;
use super::{Carrier, Connect, PoolShared};

/// All origins.
#[derive(Debug, Default)]
pub(super) struct PooledOrigins {
    known: HashMap<Arc<ConnectionKey>, OriginBook>,
    totals: PoolTotals,
    /// Origins that need connects.
    turns: ConnectTurns<Arc<ConnectionKey>>,
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

    /// An origin may need connects now: it stands in line for them, and whose turn it is begins. Returns what to close as well, where
    /// that makes room: then those who stand in line have their turn.
    pub(super) fn go_on(&mut self, pool: &Arc<PoolShared>, key: &Arc<ConnectionKey>) -> (Vec<Connect>, Gone) {
        self.line_up(key, &pool.limits);
        let connects = self.take_turns(pool);
        let gone = if self.is_short(&pool.limits) { self.evict(pool.limits.evicted()) } else { Gone::default() };
        (connects, gone)
    }

    fn line_up(&mut self, key: &Arc<ConnectionKey>, limits: &PoolLimits) {
        let Some(book) = self.known.get_mut(key) else { return };
        if book.line == Some(book.standing) || limits.wanted(book.need()) == 0 {
            return;
        }
        if let Some(former) = book.line.replace(book.standing) {
            self.turns.remove(key, former);
        }
        self.turns.push(Arc::clone(key), book.standing);
    }

    /// The connects whose turn it is. They count as begun.
    fn take_turns(&mut self, pool: &Arc<PoolShared>) -> Vec<Connect> {
        let limits = &pool.limits;
        let mut connects = Vec::new();
        while !limits.is_full(self.totals) {
            let turn = self.turns.pop(|standing| limits.may_connect(standing, self.totals));
            let Some((key, standing)) = turn else { break };
            let Some(book) = self.known.get_mut(&key) else { continue };
            book.line = None;
            book.drop_gone();
            let wanted = limits.wanted(book.need());
            if wanted == 0 {
                continue;
            }
            book.connecting += 1;
            book.open += 1;
            self.totals.open += 1;
            self.totals.connecting += 1;
            self.totals.unproven += usize::from(standing == OriginStanding::Unproven);
            let (tls, phase) = (book.tls.clone(), Arc::clone(&book.phase));
            connects.push(Connect { slot: PoolSlot::new(pool, &key, standing), tls, phase });
            if wanted > 1 {
                book.line = Some(book.standing);
                self.turns.push(key, book.standing);
            }
        }
        connects
    }

    /// Whether origins stand in line for room that others have.
    fn is_short(&self, limits: &PoolLimits) -> bool {
        limits.is_full(self.totals) && !self.turns.is_empty()
    }

    /// Takes the connections that were idle for longest, of whomever. They are counted until they are dropped.
    fn evict(&mut self, count: usize) -> Gone {
        let of = |(key, book): (&Arc<ConnectionKey>, &OriginBook)| {
            book.idle().map(|used| (used, Arc::clone(key))).collect::<Vec<_>>()
        };
        let mut idle: Vec<_> = self.known.iter().flat_map(of).collect();
        if idle.len() > count {
            idle.select_nth_unstable_by_key(count, |(used, _)| *used);
            idle.truncate(count);
        }
        let mut gone = Gone::default();
        for (_, key) in idle {
            if let Some(book) = self.known.get_mut(&key) {
                book.evict(&mut gone);
            }
        }
        gone
    }

    /// A connect takes long: its place is the next one's, if there are not too many of its kind.
    pub(super) fn slow(&mut self, slot: &mut PoolSlot, limits: &PoolLimits) {
        if self.totals.slow < limits.slow {
            slot.place.leave(&mut self.totals);
            slot.place = SlotPlace::Slow;
            self.totals.slow += 1;
        }
    }

    /// A connection was made.
    pub(super) fn connected(&mut self, slot: &mut PoolSlot, place: SlotPlace, speaks: Speaks) {
        slot.place.leave(&mut self.totals);
        slot.place = place;
        if let Some(book) = self.known.get_mut(&slot.key) {
            book.connecting -= 1;
            book.speaks = speaks;
            book.standing = OriginStanding::Proven;
            if place == SlotPlace::Used {
                book.used += 1;
            }
        }
    }

    /// A connect failed: the oldest request that waits fails with it. Where the time ran out, so do all that waited through it,
    /// and where the policy refuses the name, all.
    pub(super) fn failed(&mut self, slot: &mut PoolSlot, error: &NoConnection, began: Instant) {
        slot.place.leave(&mut self.totals);
        slot.place = SlotPlace::Failed;
        let Some(book) = self.known.get_mut(&slot.key) else { return };
        book.connecting -= 1;
        book.standing = OriginStanding::Unproven;
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
        let is_short = self.is_short(limits);
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
        let is_surplus = book.kept.len() + used >= book.peak.keeps(book.used, now);
        // One that is new was paid for: who comes next uses it, or the next sweep ends it.
        if is_short || (is_surplus && kept.served > 0) {
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
        limits: &PoolLimits,
        now: Instant,
        stream: impl Fn(Arc<Http2>) -> Carrier,
    ) -> StreamEnd {
        let mut end = StreamEnd::default();
        let is_short = self.is_short(limits);
        let slot = connection.slot.as_ref();
        let Some(book) = slot.and_then(|slot| self.known.get_mut(&slot.key)) else { return end };
        book.used = book.used.saturating_sub(1);
        let at = book.shared.iter().position(|shared| Arc::ptr_eq(&shared.connection, connection));
        if let Some(at) = at {
            let shared = &mut book.shared[at];
            shared.streams = shared.streams.saturating_sub(1);
            shared.used = now;
            let is_idle = shared.streams == 0;
            let is_last =
                is_idle && (shared.is_retired || connection.is_closed() || (is_short && book.waiting.is_empty()));
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

    /// A connection is gone, or was never made.
    pub(super) fn closed(&mut self, key: &Arc<ConnectionKey>, place: SlotPlace) {
        self.totals.open -= 1;
        place.leave(&mut self.totals);
        if let Some(book) = self.known.get_mut(key) {
            book.open -= 1;
            book.connecting -= usize::from(place.is_connecting());
            book.used -= usize::from(place == SlotPlace::Used);
        }
    }

    /// Takes out what is over at an origin, and forgets it when nothing is left.
    pub(super) fn sweep(&mut self, key: &Arc<ConnectionKey>, limits: &PoolLimits, now: Instant) -> Gone {
        let mut gone = Gone::default();
        let Some(book) = self.known.get_mut(key) else { return gone };
        book.sweep(limits, now, &mut gone);
        if book.open == 0 && book.waiting.is_empty() && book.line.is_none() {
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
        self.known.get(key).is_some_and(|book| book.line.is_some() && book.connecting == 0)
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
