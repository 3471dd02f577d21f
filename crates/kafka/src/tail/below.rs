//! The records of one partition below an end that was listed, those of transactions that are about to be over included.
//!
//! Kafka answers a commit as soon as the transaction's coordinator has noted it; its markers, without which no reader of what is
//! committed gets there, are written afterwards. So whoever has been answered and reads up to the first open transaction may not
//! find what was just written. This reader waits there for a moment, and not for ever: the writer may have died.

use std::time::Duration;

use schemas::record::Record;
use tokio::time::{Instant, timeout_at};

use super::{Tail, TailEvent};
use crate::error::KafkaError;

/// How long is waited for the next record where transactions are open: markers follow their commit within milliseconds.
const OPEN: Duration = Duration::from_secs(1);

/// Reads one partition up to an end.
///
/// Its tail reads this partition alone, emits ends and shows only what is committed; the end is one of
/// [`Offsets::start`](crate::Offsets::start), so beyond open transactions.
#[derive(Debug)]
pub struct Below {
    tail: Tail,
    end: i64,
    /// Until when open transactions are waited for. None: nothing of that kind was met.
    until: Option<Instant>,
}

// === impl Below ===

impl Below {
    /// What `tail` reads below `end`.
    #[must_use]
    pub fn new(tail: Tail, end: i64) -> Self {
        Self { tail, end, until: None }
    }

    /// The next record; None: there is no other below the end, or what follows is a transaction that stays open.
    ///
    /// # Errors
    /// See [`Tail::next`].
    pub async fn next(&mut self) -> Result<Option<Record>, KafkaError> {
        loop {
            let event = match self.until {
                Some(until) => match timeout_at(until, self.tail.next()).await {
                    Ok(event) => event?,
                    Err(_elapsed) => return Ok(None),
                },
                None => self.tail.next().await?,
            };
            match event {
                TailEvent::Record { record, .. } if record.offset < self.end => {
                    self.until = None;
                    return Ok(Some(record));
                }
                TailEvent::Eof { position, .. } if position < self.end => {
                    self.until.get_or_insert_with(|| Instant::now() + OPEN);
                }
                TailEvent::Record { .. } | TailEvent::Eof { .. } => return Ok(None),
            }
        }
    }
}
