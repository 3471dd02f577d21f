//! Which topics there are, for whoever reads topics that others make and delete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::error::KafkaError;
use crate::ffi;
use crate::log::Named;

/// The topics of a cluster, as far as they may be seen.
#[derive(Clone, Debug, Default)]
pub struct FoundTopics {
    /// Each with its number of partitions. One that may not be described is not among them.
    pub there: BTreeMap<Arc<str>, usize>,
    /// Topics that were asked for by name and are not there, or may not be described: which of both.
    pub missing: BTreeMap<Arc<str>, KafkaError>,
}

/// Two questions, the second only about names that the first did not find.
pub(super) fn look(
    client: &BaseConsumer<Named>,
    named: &[String],
    timeout: Duration,
) -> Result<FoundTopics, KafkaError> {
    let metadata = client
        .fetch_metadata(None, timeout)
        .map_err(|error| KafkaError::from_rdkafka("metadata of all topics", &error))?;
    let there: BTreeMap<Arc<str>, usize> = metadata
        .topics()
        .iter()
        .filter(|topic| !topic.partitions().is_empty())
        .map(|topic| (Arc::from(topic.name()), topic.partitions().len()))
        .collect();
    let unseen: Vec<&str> = named.iter().map(String::as_str).filter(|name| !there.contains_key(*name)).collect();
    if unseen.is_empty() {
        return Ok(FoundTopics { there, missing: BTreeMap::new() });
    }
    let described = ffi::describe_topics(client.client().native_client(), &unseen, timeout)
        .map_err(|code| KafkaError::call("describe topics", code))?;
    let why = |name: &str| match described.get(name) {
        Some(Err(code)) => KafkaError::call(format!("describe topic {name}"), *code),
        // It has come between the two questions: the next look finds it.
        Some(Ok(_)) => KafkaError::call(format!("metadata of {name}"), Code::LeaderNotAvailable),
        None => KafkaError::NoTopic { topic: Arc::from(name) },
    };
    let missing = unseen.into_iter().map(|name| (Arc::from(name), why(name))).collect();
    Ok(FoundTopics { there, missing })
}
