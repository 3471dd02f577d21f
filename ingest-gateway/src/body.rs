//! The request's body: read within its limits of size and time, and within the bytes all bodies may take together.
//!
//! One organization holds at most half of what the others leave, so that there is room for the next one's however much the first
//! sends. Whose body it is says the request's token, before anything of the body is read.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chassis::metrics::IntGauge;
use chassis::server::Timer;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use schemas::ids::OrganizationId;

use crate::problem::{Refused, bad_body, body_too_large, body_too_slow, overloaded};

/// Counters of organizations. Two that share one share what is theirs: rare, and cheaper than a lock for every body.
const COUNTERS: usize = 4_096;

/// The bytes that bodies may take together.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    used: AtomicUsize,
    limit: usize,
    /// What organizations have of it.
    owned: Box<[AtomicUsize]>,
    shown: IntGauge,
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Share<'b> {
    budget: &'b BodyBudget,
    /// The counter of whose body it is, once that is known; the operator has none.
    owner: Option<&'b AtomicUsize>,
    bytes: usize,
}

/// Limits of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes.
    pub(crate) size: usize,
    /// From the end of the head to the end of the body.
    pub(crate) time: Duration,
}

/// What is held while a body grows, with it.
#[derive(Clone, Copy, Debug)]
struct HeldBodyBytes {
    /// By all.
    all: usize,
    /// By the organization.
    own: usize,
    /// By this body.
    body: usize,
}

// === impl BodyBudget ===

impl BodyBudget {
    pub(crate) fn new(limit: usize, shown: IntGauge) -> Self {
        let owned = (0..COUNTERS).map(|_| AtomicUsize::new(0)).collect();
        Self { used: AtomicUsize::new(0), limit, owned, shown }
    }

    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share<'_> {
        Share { budget: self, owner: None, bytes: 0 }
    }

    fn counter(&self, organization: OrganizationId) -> &AtomicUsize {
        // Random in every version of a UUID, and never what a tenant chose.
        let [.., before, last] = organization.0.into_bytes();
        &self.owned[usize::from(u16::from_be_bytes([before, last])) % COUNTERS]
    }
}

// === impl HeldBodyBytes ===

impl HeldBodyBytes {
    /// All have the whole, an organization half of what the others leave; its only body is bounded by the whole alone, so that
    /// the largest one still fits a small budget.
    fn refusal(self, limit: usize) -> Option<&'static str> {
        if self.all > limit {
            return Some("too many bytes of other requests are in flight");
        }
        let others = self.all.saturating_sub(self.own);
        let is_beyond = self.own > self.body && self.own > (limit - others.min(limit)) / 2;
        is_beyond.then_some("too many bytes of other requests of this organization are in flight")
    }
}

// === impl Share ===

impl Share<'_> {
    /// Whose body it is. Before anything of it is taken.
    pub(crate) fn belong(&mut self, organization: Option<OrganizationId>) {
        debug_assert_eq!(self.bytes, 0, "what was taken before would be given back to nobody");
        self.owner = organization.map(|it| self.budget.counter(it));
    }

    /// Takes more of the budget; what was taken beyond it is given back with the rest.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        let all = self.budget.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.bytes += bytes;
        self.budget.shown.add(signed(bytes));
        let own = self.owner.map_or(0, |owner| owner.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes));
        match (HeldBodyBytes { all, own, body: self.bytes }).refusal(self.budget.limit) {
            Some(refusal) => Err(overloaded(refusal)),
            None => Ok(()),
        }
    }

    /// Gives back what a body does not need any more.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(owner) = self.owner {
            owner.fetch_sub(bytes, Ordering::Relaxed);
        }
        self.budget.shown.sub(signed(bytes));
    }

    /// Gives back all: what was read is dropped.
    pub(crate) fn end(&mut self) {
        self.shrink(self.bytes);
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

// === reading ===

/// Refuses by the announced length, before anything is read.
pub(crate) fn check_announced(body: &Incoming, limits: BodyLimits) -> Result<(), Refused> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limits.size { Err(body_too_large(limits.size)) } else { Ok(()) }
}

/// Reads the whole body. A body of one frame is not copied.
pub(crate) async fn receive(
    body: &mut Incoming,
    limits: BodyLimits,
    timer: &Timer,
    share: &mut Share<'_>,
) -> Result<Bytes, Refused> {
    let received = timer.within(limits.time, pin!(collect(body, limits.size, share))).await;
    received.unwrap_or_else(|| Err(body_too_slow(limits.time.as_millis())))
}

async fn collect(body: &mut Incoming, limit: usize, share: &mut Share<'_>) -> Result<Bytes, Refused> {
    let Some(first) = next(body).await? else { return Ok(Bytes::new()) };
    take(first.len(), first.len(), limit, share)?;
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next(body).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        take(bytes.len(), whole.len() + bytes.len(), limit, share)?;
        whole.extend_from_slice(&bytes);
        piece = next(body).await?;
    }
    Ok(whole.freeze())
}

fn take(bytes: usize, total: usize, limit: usize, share: &mut Share<'_>) -> Result<(), Refused> {
    if total > limit {
        return Err(body_too_large(limit));
    }
    share.grow(bytes)
}

/// The next piece of data; trailers are skipped.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Refused> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| bad_body(format!("the body ended early: {error}")))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads and drops what a refused request still sends: closing on unread bytes would reset the connection, and the client
/// would never see the answer. Bounded like a body that is accepted; beyond that the connection is closed.
pub(crate) async fn drain(mut body: Incoming, limits: BodyLimits) {
    let all = async {
        let mut left = limits.size.saturating_mul(2);
        while let Some(Ok(frame)) = body.frame().await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            left = match left.checked_sub(size) {
                Some(left) => left,
                None => return,
            };
        }
    };
    // Nothing to say to a client that is still sending: its answer is on the way.
    let _in_time = tokio::time::timeout(limits.time, all).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(number: u128) -> Option<OrganizationId> {
        Some(OrganizationId(uuid::Uuid::from_u128(number)))
    }

    fn taken(budget: &BodyBudget, of: u128, bytes: usize) -> Option<Share<'_>> {
        let mut share = budget.share();
        share.belong(organization(of));
        share.grow(bytes).ok().map(|()| share)
    }

    #[test]
    fn each_organization_leaves_half_to_the_next() {
        let budget = BodyBudget::new(1_024, IntGauge::new("bytes", "Bytes.").unwrap());
        let mut held = Vec::new();
        let counts: Vec<usize> = (1..=4)
            .map(|of| {
                let before = held.len();
                held.extend(std::iter::from_fn(|| taken(&budget, of, 8)));
                held.len() - before
            })
            .collect();
        assert_eq!(counts, [64, 32, 16, 8], "of 128 in all");
        drop(held);
        assert_eq!((budget.used.load(Ordering::Relaxed), budget.shown.get()), (0, 0));
        assert!(budget.owned.iter().all(|it| it.load(Ordering::Relaxed) == 0));
        let mut operator = budget.share();
        operator.belong(None);
        assert!(operator.grow(1_000).is_ok(), "the operator has the whole");
    }

    #[test]
    fn the_only_body_of_an_organization_may_take_all_that_is_left() {
        let budget = BodyBudget::new(1_000, IntGauge::new("bytes", "Bytes.").unwrap());
        let mut only = taken(&budget, 1, 600).unwrap();
        assert!(only.grow(400).is_ok() && taken(&budget, 1, 1).is_none() && taken(&budget, 2, 1).is_none());
        only.shrink(900);
        assert!(taken(&budget, 1, 1).is_some());
        only.end();
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
