//! The request's body: read within its limits of size and time, and within the bytes that all bodies may hold together
//! ([`BodyShare`]). Whose body it is says the request's token, before anything of the body is read.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chassis::body_budget::BodyShare;
use chassis::server::Timer;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::problem::{Refused, bad_body, body_too_large, body_too_slow, no_room};

/// Limits of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Bytes.
    pub(crate) size: usize,
    /// From the end of the head to the end of the body.
    pub(crate) time: Duration,
}

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
    share: &mut BodyShare,
) -> Result<Bytes, Refused> {
    let received = timer.within(limits.time, pin!(collect(body, limits.size, share))).await;
    received.unwrap_or_else(|| Err(body_too_slow(limits.time.as_millis())))
}

async fn collect(body: &mut Incoming, limit: usize, share: &mut BodyShare) -> Result<Bytes, Refused> {
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

fn take(bytes: usize, total: usize, limit: usize, share: &mut BodyShare) -> Result<(), Refused> {
    if total > limit {
        return Err(body_too_large(limit));
    }
    share.grow(bytes).map_err(no_room)
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
