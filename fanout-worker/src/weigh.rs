//! What the deliveries of one event will weigh, before one of them is made. Pure.
//!
//! A transaction has ten seconds, and more bytes than the cluster takes in that time would be written, aborted and written again for
//! ever: so an event for more than one transaction carries is written in slices. Slices take their time, so an event that would become
//! too much is rejected while it is still one record.

use schemas::header;
use schemas::rejected::RejectReason;

use crate::expand::Place;
use sources::{Event, Rejection};

/// Bytes of a UUID as text.
const UUID_BYTES: usize = 36;
/// Bytes of the digest of an ordering key.
const KEY_BYTES: usize = 16;
/// Bytes of an integer as text, at most.
const INTEGER_BYTES: usize = 20;
/// Bytes that every delivery of ours has beside payload, event headers and origin: its key and the headers that
/// `schemas::delivery::NewDelivery::encode` adds, with the longest values they can have.
const OWN_BYTES: usize = UUID_BYTES
    + header::APPLICATION.len()
    + header::DELIVERY.len()
    + header::SUBSCRIPTION.len()
    + 3 * UUID_BYTES
    + header::ACCEPTED.len()
    + header::DEADLINE.len()
    + header::CONTROL_OFFSET.len()
    + header::ATTEMPT.len()
    + 4 * INTEGER_BYTES
    + header::DEPRECATION.len()
    + 2 * INTEGER_BYTES
    + 1
    + header::ORDERING_KEY.len()
    + KEY_BYTES
    + header::ORIGIN.len();

/// How much one event may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventLimits {
    /// Subscriptions.
    pub(crate) matches: usize,
    /// Bytes of its deliveries together. One delivery always passes: whether a record fits its topic is asked elsewhere.
    pub(crate) bytes: usize,
    /// Deliveries of one transaction.
    pub(crate) slice_records: usize,
    /// Their bytes. One delivery always fits.
    pub(crate) slice_bytes: usize,
}

// === impl EventLimits ===

impl EventLimits {
    /// Refuses an event that would become more than it may.
    ///
    /// # Errors
    /// The rejection, with the numbers and what to do.
    pub(crate) fn check(self, matches: usize, event: &Event<'_>, place: Place<'_>) -> Result<(), Rejection> {
        let too_many = |detail| Err(Rejection::new(RejectReason::TooManyMatches, detail));
        if matches > self.matches {
            return too_many(format!(
                "the event matches {matches} subscriptions, fanout.max_matches allows {}: narrow the subscriptions, or raise it",
                self.matches
            ));
        }
        let each = delivery_bytes(event, place);
        let bytes = matches.saturating_mul(each);
        if matches > 1 && bytes > self.bytes {
            return too_many(format!(
                "{matches} matching subscriptions x {each} bytes (payload and headers) are {bytes} bytes, \
                 fanout.max_expansion_bytes allows {}: send a link instead of the data, narrow the subscriptions, or raise it",
                self.bytes
            ));
        }
        Ok(())
    }

    /// How many deliveries of so many bytes each go into one transaction.
    pub(crate) fn in_slice(self, each: usize) -> usize {
        self.slice_records.min(self.slice_bytes / each.max(1)).max(1)
    }

    /// Whether so many deliveries do.
    pub(crate) fn is_one_slice(self, matches: usize, each: usize) -> bool {
        matches <= self.in_slice(each)
    }
}

/// Bytes of one delivery of the event, at most: key, payload and headers.
pub(crate) fn delivery_bytes(event: &Event<'_>, place: Place<'_>) -> usize {
    let origin = place.partition.topic.len() + 2 * (1 + INTEGER_BYTES);
    OWN_BYTES + origin + event.payload.len() + event.headers.size()
}
