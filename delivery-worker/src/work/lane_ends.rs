//! Asks for the ends of partitions of `lanes` beside the loop, one question at a time.

use std::collections::VecDeque;
use std::time::Duration;

use chassis::pending::{Pending, finished};
use kafka::{Epoch, Offsets};
use schemas::record::TopicPartition;

/// Pause before a question is asked again that Kafka did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The questions, and the answer until the next turn.
#[derive(Default)]
pub(crate) struct LaneEnds {
    /// None in tests without Kafka.
    offsets: Option<Offsets>,
    waiting: VecDeque<(Epoch, TopicPartition)>,
    question: Pending<(Epoch, i64)>,
    answer: Option<(Epoch, i64)>,
}

// === impl LaneEnds ===

impl LaneEnds {
    /// Nothing is asked yet.
    pub(crate) fn new(offsets: Offsets) -> Self {
        Self { offsets: Some(offsets), ..Self::default() }
    }

    /// Asks for the end of a partition, for this lease.
    pub(super) fn ask(&mut self, epoch: Epoch, partition: TopicPartition) {
        self.waiting.push_back((epoch, partition));
        self.ask_next();
    }

    /// The answer, once.
    pub(super) fn take(&mut self) -> Option<(Epoch, i64)> {
        let answer = self.answer.take()?;
        self.ask_next();
        Some(answer)
    }

    /// Waits until a question is answered. Cancel safe.
    pub(super) async fn wait(&mut self) {
        self.answer = Some(finished(&mut self.question).await);
    }

    fn ask_next(&mut self) {
        if self.question.is_some() || self.answer.is_some() {
            return;
        }
        let Some(offsets) = self.offsets.clone() else { return };
        let Some((epoch, partition)) = self.waiting.pop_front() else { return };
        self.question = Some(Box::pin(async move {
            loop {
                match offsets.end(&partition).await {
                    Ok(end) => return (epoch, end),
                    Err(error) => tracing::warn!(%partition, %error, "its end is not told now; asking again"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }
}
