//! The request's body: read within its limits of size and time, and within the bytes all bodies may take together.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chassis::metrics::IntGauge;
use chassis::server::Timer;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::problem::{Refused, bad_body, body_too_large, body_too_slow, overloaded};

/// The bytes that bodies may take together.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    used: AtomicUsize,
    limit: usize,
    shown: IntGauge,
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Share<'b> {
    budget: &'b BodyBudget,
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

// === impl BodyBudget ===

impl BodyBudget {
    pub(crate) fn new(limit: usize, shown: IntGauge) -> Self {
        Self { used: AtomicUsize::new(0), limit, shown }
    }

    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share<'_> {
        Share { budget: self, bytes: 0 }
    }
}

// === impl Share ===

impl Share<'_> {
    /// Takes more of the budget; what was taken beyond it is given back with the rest.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.budget.shown.add(signed(bytes));
        if before + bytes > self.budget.limit {
            return Err(overloaded("too many bytes of other requests are in flight"));
        }
        Ok(())
    }
}

impl Share<'_> {
    /// Gives back what a body does not need any more.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.shown.sub(signed(bytes));
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.shown.sub(signed(self.bytes));
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
