//! Where partitions begin and end right now, for whoever must not miss anything written before the question.

mod list;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use schemas::record::TopicPartition;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use uuid::Uuid;

use self::list::{End, list};
pub(crate) use self::list::{Listed, LogRange, edges, ranges};
use crate::connection::Connection;
use crate::error::{ErrorCode, KafkaError};
use crate::ffi;
use crate::log::Named;

mod found_topics;

pub use self::found_topics::FoundTopics;

/// Questions that may wait for the request under way; they are then answered by one request.
const QUEUE: usize = 4_096;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A shared client that asks for them. Cheap to clone.
#[derive(Clone)]
pub struct Offsets(mpsc::Sender<Question>);

enum Question {
    Offset(TopicPartition, End, oneshot::Sender<Result<i64, KafkaError>>),
    Partitions(String, oneshot::Sender<Result<Option<i32>, KafkaError>>),
    TopicId(String, oneshot::Sender<Result<Option<Uuid>, KafkaError>>),
    Topics(Vec<String>, oneshot::Sender<Result<FoundTopics, KafkaError>>),
}

// === impl Offsets ===

impl Offsets {
    /// Starts the client's thread; it ends with the last handle. It sees everything that was written, whether or not its
    /// transaction is over.
    ///
    /// # Errors
    /// Properties librdkafka refuses.
    pub fn start(connection: &Connection) -> Result<Self, KafkaError> {
        Self::start_with(&connection.plain("hookbus-ends"))
    }

    /// The same for readers of what is committed: a partition ends where its first open transaction begins. Such a reader does not
    /// get further, so an end beyond that is none to wait for.
    ///
    /// # Errors
    /// Properties librdkafka refuses.
    pub fn start_committed(connection: &Connection) -> Result<Self, KafkaError> {
        let mut config = connection.plain("hookbus-ends");
        config.set("isolation.level", "read_committed");
        Self::start_with(&config)
    }

    fn start_with(config: &ClientConfig) -> Result<Self, KafkaError> {
        let failed = |reason| KafkaError::Client { purpose: "log ends", reason };
        let client = BaseConsumer::from_config_and_context(config, Named::new("ends"))
            .map_err(|error| failed(error.to_string()))?;
        let (questions, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("kafka-offsets".into())
            .spawn(move || run(&client, queue))
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self(questions))
    }

    /// Where the next record will be, or for readers of what is committed the first open transaction begins. Asked for after this
    /// call was made; concurrent calls share a request.
    ///
    /// # Errors
    /// The cluster did not answer.
    pub async fn end(&self, partition: &TopicPartition) -> Result<i64, KafkaError> {
        self.offset(partition, End::Last).await
    }

    /// [`Offsets::end`] of each of these partitions, or why it is not told: one without a leader hides no other. One request.
    pub async fn ends_of(&self, partitions: Vec<TopicPartition>) -> BTreeMap<TopicPartition, Result<i64, KafkaError>> {
        self.all(partitions, End::Last).await
    }

    /// [`Offsets::start_of`] of each of these partitions, likewise.
    pub async fn starts_of(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> BTreeMap<TopicPartition, Result<i64, KafkaError>> {
        self.all(partitions, End::First).await
    }

    /// Where each of these partitions begins and ends, for a new owner that reads them. One that cannot be told of now, as one
    /// without a leader, is left out with a line of the log: who needs it waits for it, the others do not.
    ///
    /// # Errors
    /// The cluster did not answer; or what waiting cannot cure, of any of them.
    pub async fn ranges_of(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, (i64, i64)>, KafkaError> {
        // In this order: a log whose records retention deletes meanwhile begins nowhere beyond its end.
        let starts = self.starts_of(partitions.clone()).await;
        told_ranges(starts, &self.ends_of(partitions).await)
    }

    /// The first available offset.
    ///
    /// # Errors
    /// The cluster did not answer.
    pub async fn start_of(&self, partition: &TopicPartition) -> Result<i64, KafkaError> {
        self.offset(partition, End::First).await
    }

    /// The offset of the first record whose Kafka timestamp (Unix ms) is not before this one; the end if there is none.
    ///
    /// # Errors
    /// The cluster did not answer.
    pub async fn at(&self, partition: &TopicPartition, time_ms: i64) -> Result<i64, KafkaError> {
        match self.offset(partition, End::At(time_ms)).await {
            Err(KafkaError::Call { code: ErrorCode(Code::OffsetNotAvailable), .. }) => self.end(partition).await,
            found => found,
        }
    }

    /// [`Offsets::at`] of each of these partitions, likewise.
    pub async fn at_of(
        &self,
        partitions: Vec<TopicPartition>,
        time_ms: i64,
    ) -> BTreeMap<TopicPartition, Result<i64, KafkaError>> {
        let mut found = self.all(partitions, End::At(time_ms)).await;
        let none = |told: &Result<i64, KafkaError>| {
            matches!(told, Err(KafkaError::Call { code: ErrorCode(Code::OffsetNotAvailable), .. }))
        };
        let late: Vec<TopicPartition> = found.iter().filter(|(_, it)| none(it)).map(|(it, _)| it.clone()).collect();
        found.extend(self.all(late, End::Last).await);
        found
    }

    /// The number of partitions; `None`: the topic does not exist.
    ///
    /// # Errors
    /// The cluster did not answer.
    pub async fn partitions(&self, topic: &str) -> Result<Option<i32>, KafkaError> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Question::Partitions(topic.to_owned(), answer)).await.map_err(|_closed| KafkaError::Closed)?;
        outcome.await.map_err(|_closed| KafkaError::Closed)?
    }

    /// The id of a topic, which no other topic has had, whatever its name; `None`: the topic does not exist.
    ///
    /// # Errors
    /// The cluster did not answer.
    pub async fn topic_id(&self, topic: &str) -> Result<Option<Uuid>, KafkaError> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Question::TopicId(topic.to_owned(), answer)).await.map_err(|_closed| KafkaError::Closed)?;
        outcome.await.map_err(|_closed| KafkaError::Closed)?
    }

    /// All topics that may be seen, and what of the `named` ones is not among them.
    ///
    /// # Errors
    /// The cluster did not answer.
    pub async fn topics(&self, named: Vec<String>) -> Result<FoundTopics, KafkaError> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(Question::Topics(named, answer)).await.map_err(|_closed| KafkaError::Closed)?;
        outcome.await.map_err(|_closed| KafkaError::Closed)?
    }

    /// [`Offsets::end`] of each partition of a topic.
    ///
    /// # Errors
    /// The topic does not exist, or the cluster did not answer.
    pub async fn ends(&self, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let told = self.told_ends(topic).await?;
        told.into_iter().map(|(partition, end)| Ok((partition, end?))).collect()
    }

    /// The same, or of each partition why it is not told: one without a leader hides no other.
    ///
    /// # Errors
    /// The topic does not exist, or it is not known which partitions it has.
    pub async fn told_ends(&self, topic: &str) -> Result<BTreeMap<i32, Result<i64, KafkaError>>, KafkaError> {
        let topic: Arc<str> = Arc::from(topic);
        let missing = || KafkaError::NoTopic { topic: Arc::clone(&topic) };
        let count = self.partitions(&topic).await?.ok_or_else(missing)?;
        let all = (0..count).map(|partition| TopicPartition::new(Arc::clone(&topic), partition)).collect();
        let told = self.ends_of(all).await;
        Ok(told.into_iter().map(|(TopicPartition { partition, .. }, end)| (partition, end)).collect())
    }

    /// Asks for all before it waits for the first answer.
    async fn all(
        &self,
        partitions: Vec<TopicPartition>,
        end: End,
    ) -> BTreeMap<TopicPartition, Result<i64, KafkaError>> {
        let mut outcomes = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let (answer, outcome) = oneshot::channel();
            let is_asked = self.0.send(Question::Offset(partition.clone(), end, answer)).await.is_ok();
            outcomes.push((partition, is_asked.then_some(outcome)));
        }
        let mut all = BTreeMap::new();
        for (partition, outcome) in outcomes {
            let told = match outcome {
                Some(outcome) => outcome.await.unwrap_or(Err(KafkaError::Closed)),
                None => Err(KafkaError::Closed),
            };
            all.insert(partition, told);
        }
        all
    }

    async fn offset(&self, partition: &TopicPartition, end: End) -> Result<i64, KafkaError> {
        let (answer, outcome) = oneshot::channel();
        let question = Question::Offset(partition.clone(), end, answer);
        self.0.send(question).await.map_err(|_closed| KafkaError::Closed)?;
        outcome.await.map_err(|_closed| KafkaError::Closed)?
    }
}

impl std::fmt::Debug for Offsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offsets").finish_non_exhaustive()
    }
}

/// The thread: everything that arrived while a request was under way goes into the next one.
fn run(client: &BaseConsumer<Named>, mut queue: mpsc::Receiver<Question>) {
    let mut questions = Vec::new();
    while queue.blocking_recv_many(&mut questions, QUEUE) > 0 {
        client.poll(Duration::ZERO);
        let mut waiting: BTreeMap<End, Vec<(TopicPartition, oneshot::Sender<_>)>> = BTreeMap::new();
        for question in questions.drain(..) {
            match question {
                Question::Offset(partition, end, answer) => waiting.entry(end).or_default().push((partition, answer)),
                // Whoever does not wait for the answer does not want it; so below.
                Question::Partitions(topic, answer) => drop(answer.send(partition_count(client, &topic, TIMEOUT))),
                Question::TopicId(topic, answer) => drop(answer.send(topic_id(client, &topic))),
                Question::Topics(named, answer) => drop(answer.send(found_topics::look(client, &named, TIMEOUT))),
            }
        }
        for (end, asked) in waiting {
            let partitions: HashSet<&TopicPartition> = asked.iter().map(|(partition, _)| partition).collect();
            let offsets = list(client, partitions.into_iter(), end);
            for (partition, answer) in asked {
                let result = match &offsets {
                    Ok(offsets) => {
                        let told = offsets.get(&partition).cloned().unwrap_or(Err(KafkaError::Closed));
                        told.map(|listed| listed.offset)
                    }
                    Err(error) => Err(error.clone()),
                };
                drop(answer.send(result));
            }
        }
    }
}

/// The id of a topic; `None`: no such topic.
fn topic_id(client: &BaseConsumer<Named>, topic: &str) -> Result<Option<Uuid>, KafkaError> {
    let ids = ffi::topic_ids(client.client().native_client(), &[topic], TIMEOUT)
        .map_err(|code| KafkaError::call(format!("describe topic {topic}"), code))?;
    Ok(ids.get(topic).copied())
}

/// The number of partitions; `None`: no such topic.
pub(crate) fn partition_count(
    client: &BaseConsumer<Named>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<i32>, KafkaError> {
    let metadata = client
        .fetch_metadata(Some(topic), timeout)
        .map_err(|error| KafkaError::from_rdkafka(format!("metadata of {topic}"), &error))?;
    let Some(found) = metadata.topics().first() else { return Ok(None) };
    match found.error() {
        None => Ok(i32::try_from(found.partitions().len()).ok()),
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID,
        ) => Ok(None),
        Some(error) => Err(KafkaError::call(format!("metadata of {topic}"), Code::from(error))),
    }
}

/// The ranges of those partitions whose start and end were told.
fn told_ranges(
    starts: BTreeMap<TopicPartition, Result<i64, KafkaError>>,
    ends: &BTreeMap<TopicPartition, Result<i64, KafkaError>>,
) -> Result<BTreeMap<TopicPartition, (i64, i64)>, KafkaError> {
    let (mut told, mut silent) = (BTreeMap::new(), None);
    for (partition, start) in starts {
        let end = ends.get(&partition).cloned().unwrap_or(Err(KafkaError::Closed));
        match start.and_then(|start| Ok((start, end?))) {
            Ok(range) => {
                told.insert(partition, range);
            }
            Err(error) if error.is_retriable() => {
                warn!(%partition, %error, "where a log begins and ends is not told now: what needs it begins later");
                if !error.is_without_leader() {
                    silent.get_or_insert(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    silent.filter(|_| told.is_empty()).map_or(Ok(told), Err)
}

/// The topic's name as shared text, for errors.
pub(crate) fn no_topic(topic: &str) -> KafkaError {
    KafkaError::NoTopic { topic: Arc::from(topic) }
}

/// Makes a plain client for one task.
pub(crate) fn plain_client(connection: &Connection, name: &'static str) -> Result<BaseConsumer<Named>, KafkaError> {
    BaseConsumer::from_config_and_context(&connection.plain(name), Named::new(name))
        .map_err(|error| KafkaError::Client { purpose: name, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_leader_holds_up_no_other_and_an_outage_is_waited_for() {
        let at = |number: i32| TopicPartition::new("seen", number);
        let away = || Err(KafkaError::without_leader("list offsets of seen/1"));
        let starts = || BTreeMap::from([(at(0), Ok(3)), (at(1), away()), (at(2), Ok(9))]);
        let ends = BTreeMap::from([(at(0), Ok(7)), (at(1), Ok(8)), (at(2), away())]);
        assert_eq!(told_ranges(starts(), &ends).unwrap(), BTreeMap::from([(at(0), (3, 7))]));
        let none = || BTreeMap::from([(at(1), away())]);
        assert!(told_ranges(none(), &none()).unwrap().is_empty(), "it begins later, and its worker is ready");
        let timed_out = || Err(KafkaError::call("list offsets", Code::OperationTimedOut));
        let silent = || BTreeMap::from([(at(0), timed_out()), (at(1), away())]);
        assert!(told_ranges(silent(), &silent()).unwrap_err().is_retriable());
        let denied = || BTreeMap::from([(at(1), Err(KafkaError::may_not_write("seen"))), (at(2), Ok(1))]);
        assert!(told_ranges(denied(), &denied()).unwrap_err().is_denied());
        assert!(told_ranges(BTreeMap::new(), &BTreeMap::new()).unwrap().is_empty(), "nobody needs anything");
    }
}
