//! What `hookbus doctor` asks of a cluster, one question at a time, so that the first thing that fails is named.
//!
//! Each broker by itself, the brokers' settings, partitions without leaders, what we may do, and one transaction that is aborted.

mod plain;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError as Native;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::record::TopicPartition;

use crate::clock::instant;
use crate::connection::Connection;
use crate::error::{ErrorCode, KafkaError};
use crate::ffi;
use crate::log::Named;
use crate::offsets::plain_client;

pub use self::plain::answers_plainly;
pub use self::transaction::{TriedTransaction, try_transaction};

/// One question of the client; asked again until the time is over.
const QUESTION: Duration = Duration::from_secs(2);
/// After each question what the client has to say is heard for so long.
const HEARING: Duration = Duration::from_millis(250);
/// What a whole cluster may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A broker, as the cluster tells of it: where clients are sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerSeen {
    /// Its id.
    pub id: i32,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
}

/// Why a broker that accepts connections is of no use, with what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeFailure {
    /// The TLS handshake failed.
    Tls(String),
    /// It does not accept who we are.
    Login(String),
    /// It does not answer as Kafka.
    Silent(String),
}

/// A partition that is not as well as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoorPartition {
    /// Which.
    pub partition: TopicPartition,
    /// Whether it has a leader.
    pub has_leader: bool,
    /// Replicas in sync.
    pub in_sync: usize,
    /// Replicas it has.
    pub replicas: usize,
}

/// What we may do with a topic, as the cluster says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicRights {
    /// Read it, and find its leaders.
    pub read: bool,
    /// Write it, and find its leaders.
    pub write: bool,
}

/// Kafka's code of what a client said, if it named one, and its words.
type Said = (Option<Code>, String);

/// What a client said beside its answers.
#[derive(Clone, Default)]
struct Overheard(Arc<Mutex<Vec<Said>>>);

impl rdkafka::ClientContext for Overheard {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, _message: &str) {}

    fn error(&self, error: Native, reason: &str) {
        self.0.lock().push((error.rdkafka_error_code(), reason.to_owned()));
    }
}

impl ProducerContext for Overheard {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, (): ()) {}
}

// === impl Overheard ===

impl Overheard {
    /// What will not become better by asking again.
    fn verdict(&self) -> Option<ProbeFailure> {
        let said = self.0.lock();
        said.iter().find_map(|(code, reason)| {
            let code = (*code)?;
            if code == Code::SSL {
                Some(ProbeFailure::Tls(reason.clone()))
            } else if ErrorCode(code).is_login() {
                Some(ProbeFailure::Login(reason.clone()))
            } else {
                None
            }
        })
    }

    fn last(&self) -> Option<String> {
        self.0
            .lock()
            .iter()
            .rev()
            .find(|(code, _)| *code != Some(Code::AllBrokersDown))
            .map(|(_, reason)| reason.clone())
    }
}

/// Asks one broker, `host:port`, and it alone, which brokers there are: TLS, login and protocol as every client of ours does them.
///
/// # Errors
/// [`KafkaError`]: no client can be made of the properties. Inside: which step failed.
pub async fn broker(
    connection: &Connection,
    broker: &str,
    topic: &str,
    within: Duration,
) -> Result<Result<Vec<BrokerSeen>, ProbeFailure>, KafkaError> {
    let mut config = connection.plain("hookbus-doctor");
    config.set("bootstrap.servers", broker);
    let overheard = Overheard::default();
    // Only a producer's errors come with their reasons.
    let client: BaseProducer<Overheard> = BaseProducer::from_config_and_context(&config, overheard.clone())
        .map_err(|error| KafkaError::Client { purpose: "looking at a broker", reason: error.to_string() })?;
    let topic = topic.to_owned();
    let ask = move || {
        let deadline = instant() + within;
        loop {
            let told = client.client().fetch_metadata(Some(&topic), QUESTION);
            // Errors are told by polling, behind lines of the log: one event at a time.
            client.poll(HEARING);
            match told {
                Ok(metadata) if !metadata.brokers().is_empty() => {
                    let seen = metadata.brokers().iter().map(|broker| BrokerSeen {
                        id: broker.id(),
                        host: broker.host().to_owned(),
                        port: u16::try_from(broker.port()).unwrap_or(0),
                    });
                    let mut seen: Vec<BrokerSeen> = seen.collect();
                    seen.sort();
                    return Ok(seen);
                }
                Ok(_) => {}
                Err(error) if instant() >= deadline => {
                    let reason = overheard.last().unwrap_or_else(|| error.to_string());
                    return Err(overheard.verdict().unwrap_or(ProbeFailure::Silent(reason)));
                }
                Err(_) => {}
            }
            if let Some(verdict) = overheard.verdict() {
                return Err(verdict);
            }
            if instant() >= deadline {
                return Err(ProbeFailure::Silent("it tells of no broker".to_owned()));
            }
        }
    };
    tokio::task::spawn_blocking(ask).await.map_err(|_gone| KafkaError::Closed)
}

/// The settings of a broker by name.
///
/// # Errors
/// The cluster does not answer, or does not let us see them.
pub async fn settings(connection: &Connection, broker: i32) -> Result<BTreeMap<String, String>, KafkaError> {
    let call = || format!("describe the settings of broker {broker}");
    let client: AdminClient<Named> =
        AdminClient::from_config_and_context(&connection.plain("hookbus-doctor"), Named::new("settings"))
            .map_err(|error| KafkaError::Client { purpose: "settings", reason: error.to_string() })?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = client
        .describe_configs(&[ResourceSpecifier::Broker(broker)], &options)
        .await
        .map_err(|error| KafkaError::from_rdkafka(call(), &error))?;
    let mut settings = BTreeMap::new();
    for resource in described {
        let resource = resource.map_err(|code| KafkaError::call(call(), code))?;
        let entries = resource.entries.into_iter();
        settings.extend(entries.filter_map(|entry| Some((entry.name, entry.value?))));
    }
    // rdkafka passes over the error beside a resource; every broker has settings.
    if settings.is_empty() {
        return Err(KafkaError::call(call(), Code::ClusterAuthorizationFailed));
    }
    Ok(settings)
}

/// Partitions of these topics without a leader, or with fewer replicas in sync than they have. Topics that are missing or denied
/// are left out.
///
/// # Errors
/// The cluster does not answer.
pub async fn poor_partitions(connection: &Connection, topics: Vec<String>) -> Result<Vec<PoorPartition>, KafkaError> {
    let client = plain_client(connection, "hookbus-doctor")?;
    let look = move || {
        let metadata = client
            .fetch_metadata(None, TIMEOUT)
            .map_err(|error| KafkaError::from_rdkafka("metadata of all topics", &error))?;
        let wanted = metadata.topics().iter().filter(|found| topics.iter().any(|topic| topic == found.name()));
        let partitions = wanted.flat_map(|topic| topic.partitions().iter().map(move |it| (topic.name(), it)));
        let poor = partitions.filter_map(|(topic, it)| {
            let (in_sync, replicas, has_leader) = (it.isr().len(), it.replicas().len(), it.leader() >= 0);
            let partition = TopicPartition::new(topic, it.id());
            (!has_leader || in_sync < replicas).then_some(PoorPartition { partition, has_leader, in_sync, replicas })
        });
        Ok(poor.collect())
    };
    tokio::task::spawn_blocking(look).await.map_err(|_gone| KafkaError::Closed)?
}

/// What we may do with each of these topics, or why it is not told; a topic that does not exist is missing.
///
/// # Errors
/// The cluster does not answer.
pub async fn rights(
    connection: &Connection,
    topics: Vec<String>,
) -> Result<BTreeMap<String, Result<TopicRights, KafkaError>>, KafkaError> {
    let client = plain_client(connection, "hookbus-doctor")?;
    let ask = move || {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let told = ffi::permissions(client.client().native_client(), &names, TIMEOUT)
            .map_err(|code| KafkaError::call("asking what may be done with topics", code))?;
        let rights = told.into_iter().map(|(topic, may)| {
            let may = may.map(|may| TopicRights { read: may.read, write: may.write });
            let may = may.map_err(|code| KafkaError::call(format!("describe {topic}"), code));
            (topic, may)
        });
        Ok(rights.collect())
    };
    tokio::task::spawn_blocking(ask).await.map_err(|_gone| KafkaError::Closed)?
}

/// Asks for the committed offsets of a group in this topic, as its members do before they begin.
///
/// # Errors
/// The group may not be described, or the cluster does not answer.
pub async fn group(connection: &Connection, group: &str, topic: &str) -> Result<(), KafkaError> {
    crate::lag::committed_of(connection, group, topic).await
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    /// What is said of a listener that greets whoever comes as HTTP does, and hangs up.
    async fn of_a_stranger(properties: &[(&str, &str)]) -> ProbeFailure {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
            }
        });
        let properties: BTreeMap<String, String> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let connection = Connection::new(&address, &properties).unwrap();
        broker(&connection, &address, "control", Duration::from_secs(8)).await.unwrap().unwrap_err()
    }

    #[tokio::test]
    async fn who_is_no_kafka_is_silent() {
        let said = of_a_stranger(&[]).await;
        assert!(matches!(said, ProbeFailure::Silent(_)), "{said:?}");
    }
}
