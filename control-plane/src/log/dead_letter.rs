//! The dead letter itself, on `dead-letters`: what is sent again where Kafka does not hold the delivery on `deliveries` any more.
//!
//! The log knows when a delivery died and of which subscription, not where its dead letter stands: it is looked for in the
//! subscription's partition, from shortly before that time to shortly after it. It was written in the transaction that said so.

use std::sync::Arc;
use std::time::Duration;

use chassis::limited::Limited;
use delivery_log::Fact;
use kafka::{Connection, From, KafkaError, Offsets, Tail, TailEvent, TailOptions};
use schemas::delivery::{Delivery, key};
use schemas::header;
use schemas::murmur2::partition_for;
use schemas::record::{Record, TopicPartition};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::problem::{Problem, unavailable};

/// How far the clocks of two brokers may be apart, ms.
pub(super) const SKEW_MS: i64 = 10_000;
/// Those that are looked for at once: each takes a client.
const AT_ONCE: usize = 4;
/// How long one may wait until it is looked for, and then how long it may be: those before it take nothing of its time.
const WITHIN: Duration = Duration::from_secs(15);
/// How long the broker holds an empty fetch.
const FETCH_WAIT_MS: u32 = 20;
/// One line about what may not be read per that.
const LINE: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug)]
pub(super) struct DeadLetterReader {
    connection: Connection,
    offsets: Offsets,
    topic: Arc<str>,
    turns: Semaphore,
    denied: Limited<()>,
}

/// A dead letter that is looked for.
struct SoughtLetter<'a> {
    dead: &'a Fact,
    at: TopicPartition,
    end: i64,
}

// === impl DeadLetterReader ===

impl DeadLetterReader {
    /// # Errors
    /// No client can be made.
    pub(super) fn start(connection: &Connection, topic: &Arc<str>) -> Result<Self, KafkaError> {
        Ok(Self {
            connection: connection.clone(),
            offsets: Offsets::start_committed(connection)?,
            topic: Arc::clone(topic),
            turns: Semaphore::new(AT_ONCE),
            denied: Limited::new(LINE),
        })
    }

    /// The delivery as it died; `None`: Kafka does not hold it any more, or has cut its payload.
    ///
    /// # Errors
    /// 503 where Kafka does not answer in time.
    pub(super) async fn find(&self, dead: &Fact) -> Result<Option<Delivery>, Problem> {
        let late = |_elapsed| unavailable("a dead letter could not be read back in time");
        let turn = tokio::time::timeout(WITHIN, self.turns.acquire()).await.map_err(late)?;
        let _turn = turn.map_err(|_closed| unavailable("dead letters cannot be read back: the process is stopping"))?;
        match tokio::time::timeout(WITHIN, self.look(dead)).await.map_err(late)? {
            // Waiting cures neither: an installation that was not told to allow it, or has no such topic, has none to send again.
            Err(error) if error.is_denied() || matches!(error, KafkaError::NoTopic { .. }) => {
                if let Some(swallowed) = self.denied.permit(&()) {
                    warn!(topic = %self.topic, %error, swallowed, "dead letters cannot be read, so those whose delivery is gone are not sent again");
                }
                Ok(None)
            }
            Err(error) => Err(unavailable(format!("a dead letter could not be read back: {error}"))),
            Ok(found) => Ok(found),
        }
    }

    async fn look(&self, dead: &Fact) -> Result<Option<Delivery>, KafkaError> {
        let Some(subscription) = dead.subscription else { return Ok(None) };
        let missing = || KafkaError::NoTopic { topic: Arc::clone(&self.topic) };
        let count = self.offsets.partitions(&self.topic).await?.ok_or_else(missing)?;
        let at = TopicPartition::new(Arc::clone(&self.topic), partition_for(&key(subscription), count));
        let end = self.offsets.end(&at).await?;
        let start = self.offsets.at(&at, dead.stored_ms.saturating_sub(SKEW_MS)).await?;
        let sought = SoughtLetter { dead, at, end };
        if start >= end {
            return Ok(None);
        }
        let partition = sought.at.partition;
        let options = TailOptions {
            topic: self.topic.to_string(),
            partitions: Some(vec![partition]),
            from: From::Offsets([(partition, start)].into()),
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        let mut tail = Tail::start(&self.connection, options)?;
        loop {
            match tail.next().await? {
                TailEvent::Record { record, .. } => {
                    if sought.is(&record) {
                        return Ok(whole(&record));
                    }
                    if sought.is_behind(&record) {
                        return Ok(None);
                    }
                }
                TailEvent::Eof { position, .. } if position >= sought.end => return Ok(None),
                TailEvent::Eof { .. } => {}
            }
        }
    }
}

// === impl SoughtLetter ===

impl SoughtLetter<'_> {
    fn is(&self, record: &Record) -> bool {
        let id = record.headers.text(header::DELIVERY);
        id.is_some() && id == self.dead.delivery.map(|id| id.to_string()).as_deref()
    }

    /// Whether it cannot stand behind this record.
    fn is_behind(&self, record: &Record) -> bool {
        record.offset + 1 >= self.end || record.timestamp_ms > self.dead.stored_ms.saturating_add(SKEW_MS)
    }
}

/// A dead letter as a delivery, if it was not cut.
fn whole(record: &Record) -> Option<Delivery> {
    if record.headers.get(header::CUT).is_some() {
        return None;
    }
    Delivery::decode(record).ok()
}
