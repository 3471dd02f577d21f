//! Creating and verifying topics. What exists is never altered: a difference is reported, and people decide.

mod look;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use schemas::topics::TopicSpec;
use tracing::info;

use crate::connection::Connection;
use crate::error::KafkaError;
use crate::log::Named;
use crate::offsets::{self, plain_client};

pub use self::look::{require_alike, setting, until_answered};

/// How long one question or creation may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often a created topic is looked for until its partitions have leaders.
const LOOKS: usize = 100;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What is, compared with what should be.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Topics that do not exist.
    pub missing: Vec<TopicSpec>,
    /// Properties of existing topics that differ.
    pub differing: Vec<Difference>,
    /// Topics that are as they should be.
    pub matching: Vec<String>,
    /// Topics whose settings may not be described by who asked: whether these fit is not known.
    pub unseen: Vec<String>,
    /// Topics that were created just now, by this process: nobody has read them.
    pub created: Vec<String>,
}

/// One property of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// `partitions`, `replication factor`, or a configuration's name.
    pub property: String,
    /// What it should be.
    pub wanted: String,
    /// What it is.
    pub found: String,
}

/// An existing topic.
struct Existing {
    partitions: usize,
    replicas: usize,
    /// `None`: it may not be described.
    config: Option<BTreeMap<String, String>>,
}

// === impl Plan ===

impl Plan {
    /// Whether every topic is known to exist as it should.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.missing.is_empty() && self.differing.is_empty() && self.unseen.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for spec in &self.missing {
            writeln!(f, "+ {spec}")?;
        }
        let mut topic = "";
        for difference in &self.differing {
            if difference.topic != topic {
                topic = &difference.topic;
                writeln!(f, "! {topic}")?;
            }
            writeln!(f, "    {}: {}, should be {}", difference.property, difference.found, difference.wanted)?;
        }
        for name in &self.unseen {
            writeln!(f, "? {name}: its settings may not be described")?;
        }
        for name in &self.matching {
            writeln!(f, "= {name}")?;
        }
        Ok(())
    }
}

/// Compares the cluster with the specifications and changes nothing.
///
/// # Errors
/// The cluster did not answer, or refuses.
pub async fn plan(connection: &Connection, specs: &[TopicSpec]) -> Result<Plan, KafkaError> {
    let existing = existing(connection, specs).await?;
    let mut plan = Plan::default();
    for spec in specs {
        let Some(found) = existing.get(&*spec.name) else {
            plan.missing.push(spec.clone());
            continue;
        };
        let differences = compare(spec, found);
        if found.config.is_none() {
            plan.unseen.push(spec.name.to_string());
        } else if differences.is_empty() {
            plan.matching.push(spec.name.to_string());
        }
        plan.differing.extend(differences);
    }
    Ok(plan)
}

/// Creates what is missing, waits until it has leaders, and compares again. Alters nothing: the plan it returns has no
/// missing topics, but may have differing ones.
///
/// # Errors
/// The cluster did not answer, or refuses.
pub async fn ensure(connection: &Connection, specs: &[TopicSpec]) -> Result<Plan, KafkaError> {
    let before = plan(connection, specs).await?;
    if before.missing.is_empty() {
        return Ok(before);
    }
    let created = create(connection, &before.missing).await?;
    for _ in 0..LOOKS {
        let now = Plan { created: created.clone(), ..plan(connection, specs).await? };
        if now.missing.is_empty() {
            return Ok(now);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    let left = Plan { created, ..plan(connection, specs).await? };
    match left.missing.first() {
        None => Ok(left),
        Some(spec) => {
            Err(KafkaError::call(format!("waiting for the new topic {}", spec.name), Code::OperationTimedOut))
        }
    }
}

/// Makes sure that topics exist before a role writes to them or reads them: at its start, where one word helps. Later a missing
/// topic is a record that fails after ten seconds, for ever.
///
/// # Errors
/// [`KafkaError::NoTopic`] names the first one that does not exist; or the cluster did not answer, or refuses.
pub async fn require(connection: &Connection, names: &[&str]) -> Result<(), KafkaError> {
    let client = plain_client(connection, "topics")?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let look = move || {
        for name in &names {
            if offsets::partition_count(&client, name, TIMEOUT)?.is_none() {
                return Err(offsets::no_topic(name));
            }
        }
        Ok(())
    };
    tokio::task::spawn_blocking(look).await.map_err(|_gone| KafkaError::Closed)?
}

async fn create(connection: &Connection, missing: &[TopicSpec]) -> Result<Vec<String>, KafkaError> {
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|spec| {
            // -1 is the broker's default.
            let replication = TopicReplication::Fixed(spec.replication_factor.unwrap_or(-1));
            let topic = NewTopic::new(&spec.name, spec.partitions, replication);
            spec.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let created = admin(connection)?
        .create_topics(&topics, &options)
        .await
        .map_err(|error| KafkaError::from_rdkafka("create topics", &error))?;
    let mut names = Vec::with_capacity(missing.len());
    for result in created {
        match result {
            Ok(topic) => {
                info!(topic, "topic created");
                names.push(topic);
            }
            // Another process was faster; what it made is compared afterwards.
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(KafkaError::call(format!("create topic {topic}"), code)),
        }
    }
    Ok(names)
}

/// The specified topics that exist.
async fn existing(connection: &Connection, specs: &[TopicSpec]) -> Result<BTreeMap<String, Existing>, KafkaError> {
    let mut existing = shapes(connection).await?;
    existing.retain(|name, _| specs.iter().any(|spec| *spec.name == **name));
    if existing.is_empty() {
        return Ok(existing);
    }
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let resources: Vec<ResourceSpecifier<'_>> =
        existing.keys().map(|name| ResourceSpecifier::Topic(name.as_str())).collect();
    let described = admin(connection)?
        .describe_configs(&resources, &options)
        .await
        .map_err(|error| KafkaError::from_rdkafka("describe topic configurations", &error))?;
    for resource in described {
        let resource = resource.map_err(|code| KafkaError::call("describe topic configurations", code))?;
        if let OwnedResourceSpecifier::Topic(name) = &resource.specifier
            && let Some(topic) = existing.get_mut(name)
        {
            topic.config = values(&resource);
        }
    }
    Ok(existing)
}

/// The settings of a resource. `None`: Kafka refused to describe it. rdkafka passes over the error that stands beside each
/// resource of the answer, and leaves one without entries; every topic has some.
fn values(resource: &ConfigResource) -> Option<BTreeMap<String, String>> {
    let entries = resource.entries.iter();
    let values = entries.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect();
    (!resource.entries.is_empty()).then_some(values)
}

/// Partition and replica counts of all topics whose partitions have leaders.
async fn shapes(connection: &Connection) -> Result<BTreeMap<String, Existing>, KafkaError> {
    let client = plain_client(connection, "topics")?;
    let read = move || read_shapes(&client);
    tokio::task::spawn_blocking(read).await.map_err(|_gone| KafkaError::Closed)?
}

fn read_shapes(client: &BaseConsumer<Named>) -> Result<BTreeMap<String, Existing>, KafkaError> {
    let metadata = client
        .fetch_metadata(None, TIMEOUT)
        .map_err(|error| KafkaError::from_rdkafka("metadata of all topics", &error))?;
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    Ok(topics
        .map(|topic| {
            let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0);
            let shape = Existing { partitions: topic.partitions().len(), replicas, config: None };
            (topic.name().to_owned(), shape)
        })
        .collect())
}

fn admin(connection: &Connection) -> Result<AdminClient<Named>, KafkaError> {
    AdminClient::from_config_and_context(&connection.plain("hookbus-topics"), Named::new("topics"))
        .map_err(|error| KafkaError::Client { purpose: "topics", reason: error.to_string() })
}

fn compare(spec: &TopicSpec, found: &Existing) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut check = |property: &str, wanted: String, is: String| {
        if wanted != is {
            let (topic, property) = (spec.name.to_string(), property.to_owned());
            differences.push(Difference { topic, property, wanted, found: is });
        }
    };
    check("partitions", spec.partitions.to_string(), found.partitions.to_string());
    if let Some(factor) = spec.replication_factor {
        check("replication factor", factor.to_string(), found.replicas.to_string());
    }
    let Some(config) = &found.config else { return differences };
    for (name, wanted) in &spec.config {
        let is = config.get(*name).cloned().unwrap_or_else(|| "not set".to_owned());
        check(name, wanted.clone(), is);
    }
    differences
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn spec() -> TopicSpec {
        TopicSpec {
            name: Arc::from("hookbus.events"),
            partitions: 8,
            replication_factor: Some(3),
            config: BTreeMap::from([("cleanup.policy", "delete".to_owned()), ("retention.ms", "5".to_owned())]),
        }
    }

    #[test]
    fn every_difference_is_named_with_both_values() {
        let config = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        let differing = compare(&spec(), &Existing { partitions: 4, replicas: 3, config: Some(config) });
        let (matching, unseen) = (vec!["hookbus.seen".into()], vec!["hookbus.audit".into()]);
        let plan = Plan { missing: vec![spec()], differing, matching, unseen, created: Vec::new() };
        assert_eq!(
            plan.to_string(),
            "+ hookbus.events (8 partitions, cleanup.policy=delete, retention.ms=5)\n\
             ! hookbus.events\n    partitions: 4, should be 8\n    cleanup.policy: compact, should be delete\n    \
             retention.ms: not set, should be 5\n\
             ? hookbus.audit: its settings may not be described\n\
             = hookbus.seen\n"
        );
        assert!(!plan.is_settled());
    }

    #[test]
    fn settings_that_may_not_be_described_are_not_taken_for_settings_that_differ() {
        let hidden = Existing { partitions: 8, replicas: 1, config: None };
        let differing = compare(&spec(), &hidden);
        assert_eq!(differing.iter().map(|it| &*it.property).collect::<Vec<_>>(), ["replication factor"]);
        let plan = Plan { unseen: vec!["hookbus.events".into()], ..Plan::default() };
        assert!(!plan.is_settled(), "nobody knows that it fits");
    }
}
