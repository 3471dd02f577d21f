//! Where partitions begin and end right now, for whoever must not miss anything written before the question.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

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

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    First,
    Last,
    /// Of the first record at or after a time, Unix ms.
    At(i64),
}

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
        let topic: Arc<str> = Arc::from(topic);
        let missing = || KafkaError::NoTopic { topic: Arc::clone(&topic) };
        let mut ends = BTreeMap::new();
        for partition in 0..self.partitions(&topic).await?.ok_or_else(missing)? {
            ends.insert(partition, self.end(&TopicPartition::new(Arc::clone(&topic), partition)).await?);
        }
        Ok(ends)
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
                    Ok(offsets) => offsets.get(&partition).cloned().unwrap_or(Err(KafkaError::Closed)),
                    Err(error) => Err(error.clone()),
                };
                drop(answer.send(result));
            }
        }
    }
}

/// One `ListOffsets` for all partitions.
fn list<'a>(
    client: &BaseConsumer<Named>,
    partitions: impl Iterator<Item = &'a TopicPartition>,
    end: End,
) -> Result<HashMap<TopicPartition, Result<i64, KafkaError>>, KafkaError> {
    // "The offset for a time" with the two special times is ListOffsets for the log's first and last offset.
    let time = match end {
        End::First => Offset::Beginning,
        End::Last => Offset::End,
        End::At(time_ms) => Offset::Offset(time_ms),
    };
    let failed = |error| KafkaError::from_rdkafka("list offsets", &error);
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition).set_offset(time).map_err(failed)?;
    }
    let listed = client.offsets_for_times(list, TIMEOUT);
    if listed.is_err() {
        // A leader it asked may be gone.
        ffi::refresh(client.client().native_client());
    }
    let list = listed.map_err(failed)?;
    let answers = list.elements().into_iter().map(|element| {
        let partition = TopicPartition::new(element.topic(), element.partition());
        let offset = match (element.error(), element.offset()) {
            (Err(error), _) => Err(KafkaError::from_rdkafka(format!("list offsets of {partition}"), &error)),
            (Ok(()), Offset::Offset(offset)) => Ok(offset),
            (Ok(()), _) => Err(KafkaError::call(format!("list offsets of {partition}"), Code::OffsetNotAvailable)),
        };
        (partition, offset)
    });
    Ok(answers.collect())
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

/// First and last offset of every partition in one go, blocking.
pub(crate) fn ends(
    client: &BaseConsumer<Named>,
    partitions: &[TopicPartition],
) -> Result<HashMap<TopicPartition, (i64, i64)>, KafkaError> {
    ranges(client, partitions)?.into_iter().map(|(partition, range)| Ok((partition, range?))).collect()
}

/// First and last offset of each partition, or why it is not told: one partition hides no other. Two requests, blocking.
#[expect(clippy::type_complexity, reason = "an outcome for all and one for each")]
pub(crate) fn ranges(
    client: &BaseConsumer<Named>,
    partitions: &[TopicPartition],
) -> Result<HashMap<TopicPartition, Result<(i64, i64), KafkaError>>, KafkaError> {
    let mut first = list(client, partitions.iter(), End::First)?;
    let last = list(client, partitions.iter(), End::Last)?;
    let ranges = last.into_iter().filter_map(|(partition, last)| {
        let first = first.remove(&partition)?;
        Some((partition, first.and_then(|first| Ok((first, last?)))))
    });
    Ok(ranges.collect())
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

/// One special offset of each partition as a reader with this client's isolation sees it.
pub(crate) fn edge(
    client: &BaseConsumer<Named>,
    partitions: &[TopicPartition],
    last: bool,
) -> Result<HashMap<TopicPartition, i64>, KafkaError> {
    let end = if last { End::Last } else { End::First };
    list(client, partitions.iter(), end)?.into_iter().map(|(partition, offset)| Ok((partition, offset?))).collect()
}
