//! Committed records of one partition between two offsets, some at a time.

use std::time::Duration;

use kafka::{Connection, From, KafkaError, Tail, TailEvent, TailOptions};
use schemas::record::{Record, TopicPartition};

use crate::jobs::step::NotNow;

/// Records of one piece, and their bytes.
const PIECE: usize = 256;
const PIECE_BYTES: usize = 1024 * 1024;
/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the broker holds an empty fetch.
const FETCH_WAIT_MS: u32 = 20;

/// See the module.
#[derive(Debug)]
pub(super) struct RangeReader {
    /// None: there is nothing to read.
    tail: Option<Tail>,
    partition: TopicPartition,
    end: i64,
}

/// A piece.
#[derive(Debug)]
pub(super) struct ReadPiece {
    pub(super) records: Vec<Record>,
    /// All below it was read.
    pub(super) position: i64,
    /// Bytes of the records.
    pub(super) bytes: usize,
}

// === impl RangeReader ===

impl RangeReader {
    /// Begins to read. The first offset must not be below the partition's own.
    pub(super) fn start(
        connection: &Connection,
        partition: &TopicPartition,
        (from, end): (i64, i64),
    ) -> Result<Self, NotNow> {
        let options = TailOptions {
            topic: partition.topic.to_string(),
            partitions: Some(vec![partition.partition]),
            from: From::Offsets([(partition.partition, from)].into()),
            committed: true,
            eof: true,
            fetch_wait_ms: FETCH_WAIT_MS,
        };
        let tail = (from < end).then(|| Tail::start(connection, options)).transpose();
        let tail = tail.map_err(|error: KafkaError| error.to_string())?;
        Ok(Self { tail, partition: partition.clone(), end })
    }

    /// The next records; none: the end is reached. What is in an open transaction is waited for.
    pub(super) async fn next(&mut self) -> Result<Option<ReadPiece>, NotNow> {
        let mut piece = ReadPiece { records: Vec::new(), position: 0, bytes: 0 };
        while piece.records.len() < PIECE && piece.bytes < PIECE_BYTES {
            let Some(tail) = &mut self.tail else { break };
            let silent = |_elapsed| format!("kafka does not give the records of {} up to {}", self.partition, self.end);
            let event = tokio::time::timeout(PATIENCE, tail.next()).await.map_err(silent)?;
            let position = match event.map_err(|error| error.to_string())? {
                TailEvent::Record { record, .. } if record.offset < self.end => {
                    let position = record.offset + 1;
                    piece.bytes += record.size();
                    piece.records.push(record);
                    position
                }
                TailEvent::Record { .. } => self.end,
                TailEvent::Eof { position, .. } => position,
            };
            piece.position = piece.position.max(position.min(self.end));
            if position >= self.end {
                self.tail = None;
            }
        }
        Ok((!piece.records.is_empty() || self.tail.is_some()).then_some(piece))
    }
}
