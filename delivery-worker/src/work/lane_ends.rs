//! Asks for the ends of partitions of `lanes` beside the loop: each for itself, so that one that is not told holds up no other.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kafka::{Epoch, KafkaError, Offsets};
use schemas::record::TopicPartition;

/// Pause before a question is asked again that Kafka did not answer.
const PAUSE: Duration = Duration::from_secs(1);

type EndQuestion<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// Whoever knows the end of a partition.
type AskEnd = Arc<dyn Fn(TopicPartition) -> EndQuestion<Result<i64, KafkaError>> + Send + Sync>;

/// The questions, one of a lease at most, and the answers until the next turn.
#[derive(Default)]
pub(crate) struct LaneEnds {
    /// None in tests without Kafka.
    ask_end: Option<AskEnd>,
    questions: BTreeMap<Epoch, EndQuestion<i64>>,
    answers: Vec<(Epoch, i64)>,
}

// === impl LaneEnds ===

impl LaneEnds {
    /// Nothing is asked yet.
    pub(crate) fn new(offsets: Offsets) -> Self {
        Self::asking(Arc::new(move |partition| {
            let offsets = offsets.clone();
            Box::pin(async move { offsets.end(&partition).await })
        }))
    }

    fn asking(ask_end: AskEnd) -> Self {
        Self { ask_end: Some(ask_end), ..Self::default() }
    }

    /// Asks for the end of a partition, for this lease.
    pub(super) fn ask(&mut self, epoch: Epoch, partition: TopicPartition) {
        let Some(ask_end) = self.ask_end.clone() else { return };
        let question = async move {
            loop {
                match ask_end(partition.clone()).await {
                    Ok(end) => return end,
                    Err(error) => tracing::warn!(%partition, %error, "its end is not told now; asking again"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        self.questions.insert(epoch, Box::pin(question));
    }

    /// A lease goes: nobody wants to know any more.
    pub(super) fn forget(&mut self, epoch: Epoch) {
        self.questions.remove(&epoch);
        self.answers.retain(|(of, _)| *of != epoch);
    }

    /// The answers, once.
    pub(super) fn take(&mut self) -> Vec<(Epoch, i64)> {
        std::mem::take(&mut self.answers)
    }

    /// Waits until a question is answered. Cancel safe.
    pub(super) async fn wait(&mut self) {
        let answered = poll_fn(|context| {
            let answered = self.questions.iter_mut().find_map(|(epoch, question)| {
                let Poll::Ready(end) = question.as_mut().poll(context) else { return None };
                Some((*epoch, end))
            });
            answered.map_or(Poll::Pending, Poll::Ready)
        });
        let (epoch, end) = answered.await;
        self.questions.remove(&epoch);
        self.answers.push((epoch, end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_that_is_not_told_holds_up_no_other_and_is_forgotten_with_its_lease() {
        let never = |partition: TopicPartition| -> EndQuestion<Result<i64, KafkaError>> {
            match partition.partition {
                0 => Box::pin(std::future::pending()),
                number => Box::pin(std::future::ready(Ok(i64::from(number)))),
            }
        };
        let mut ends = LaneEnds::asking(Arc::new(never));
        for number in 0..4 {
            ends.ask(Epoch(u64::try_from(number).unwrap()), TopicPartition::new("hookbus.lanes", number));
        }
        let mut told = Vec::new();
        while told.len() < 3 {
            ends.wait().await;
            told.extend(ends.take());
        }
        assert_eq!(told, [(Epoch(1), 1), (Epoch(2), 2), (Epoch(3), 3)]);
        ends.forget(Epoch(0));
        assert!(ends.questions.is_empty());
    }
}
