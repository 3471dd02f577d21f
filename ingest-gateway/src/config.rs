//! What the gateway is configured by, and the limits that are not worth a key.

use std::time::Duration;

pub use chassis::config::GatewayConfig;

/// Rechecks of the catalog start at most this often: a flood of bad tokens costs Kafka 50 questions a second, no more.
pub(crate) const RECHECK_PACE: Duration = Duration::from_millis(20);
/// Longest wait for a current snapshot before a refusal becomes a 503.
pub(crate) const RECHECK_TIMEOUT: Duration = Duration::from_secs(3);
/// Streams of one HTTP/2 connection at once: as many requests as one connection may have in flight.
pub(crate) const HTTP2_STREAMS: u32 = 256;
/// What later hops add to a record (delivery id, times, reason, detail): an accepted event must still fit the topics then.
pub(crate) const LATER_HEADERS: usize = 16 * 1024;
/// `Retry-After` of a 503, seconds: the published clients give up after 5.
pub(crate) const RETRY_AFTER_S: u32 = 1;
/// hyper parses this many headers on its stack and answers more with a bare 431.
pub(crate) const PARSED_HEADERS: usize = 100;
