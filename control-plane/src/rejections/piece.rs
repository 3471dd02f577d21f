//! Some of what was rejected, forward from one place: what a job looks at in one part.

use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use kafka::{From, KafkaError, Tail, TailEvent, TailOptions};
use schemas::record::{Record, TopicPartition};

use super::{FETCH_WAIT_MS, KafkaRejections, RejectedId};

/// Records that are looked at for one piece.
const LOOKED_AT: usize = 5_000;
/// Bytes of those that are wanted: each is written again.
const BYTES: usize = 2 * 1024 * 1024;
/// A piece that has taken so long ends.
const ENOUGH: Duration = Duration::from_secs(2);

/// Some records.
#[derive(Debug)]
pub(crate) struct RejectedPiece {
    /// Each with its place.
    pub(crate) records: Vec<(RejectedId, Record)>,
    /// Where the next piece begins; none: that was all of the topic.
    pub(crate) next: Option<RejectedId>,
}

// === impl KafkaRejections ===

impl KafkaRejections {
    pub(super) async fn piece(
        &self,
        from: RejectedId,
        (since_ms, until_ms): (Option<i64>, i64),
        wanted: impl Fn(&Record) -> bool + Send + Sync,
        limit: usize,
    ) -> Result<RejectedPiece, KafkaError> {
        let _turn = self.readers.acquire().await.map_err(|_closed| KafkaError::Closed)?;
        let count = self.count().await?;
        let (at, next) = (TopicPartition::new(Arc::clone(&self.topic), from.partition), from.partition + 1);
        let next = (next < count).then_some(RejectedId { partition: next, offset: 0 });
        let nothing = RejectedPiece { records: Vec::new(), next };
        if from.partition >= count {
            return Ok(nothing);
        }
        // What fails again is rejected anew, and younger than the job.
        let end = self.offsets.at(&at, until_ms.saturating_add(1)).await?;
        let start = match since_ms {
            Some(since_ms) => self.offsets.at(&at, since_ms).await?,
            None => self.offsets.start_of(&at).await?,
        };
        let start = start.max(from.offset);
        if start >= end {
            return Ok(nothing);
        }
        let options = TailOptions {
            topic: self.topic.to_string(),
            partitions: Some(vec![at.partition]),
            from: From::Offsets([(at.partition, start)].into()),
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        let (mut tail, began) = (Tail::start(&self.connection, options)?, clock::instant());
        let (mut records, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        loop {
            match tail.next().await? {
                TailEvent::Record { record, .. } if record.offset < end => {
                    let place = RejectedId { partition: at.partition, offset: record.offset };
                    looked_at += 1;
                    if wanted(&record) {
                        bytes += record.size();
                        records.push((place, record));
                    }
                    let is_enough = records.len() >= limit || bytes >= BYTES || looked_at >= LOOKED_AT;
                    if is_enough || clock::instant().duration_since(began) > ENOUGH {
                        let next = Some(RejectedId { offset: place.offset + 1, ..place });
                        return Ok(RejectedPiece { records, next });
                    }
                }
                TailEvent::Eof { position, .. } if position < end => {}
                TailEvent::Record { .. } | TailEvent::Eof { .. } => return Ok(RejectedPiece { records, next }),
            }
        }
    }
}
