//! What a role asks of its topics at its start, beside whether they exist.

use rdkafka::admin::{AdminOptions, ResourceSpecifier};

use super::{TIMEOUT, admin, values};
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::offsets::{self, plain_client};

/// Makes sure that two topics have the same number of partitions, because what is said about a partition of one stands in that of
/// the other. Returns how many.
///
/// # Errors
/// They differ, or one does not exist; the cluster did not answer, or refuses.
pub async fn require_alike(connection: &Connection, [one, other]: [&str; 2]) -> Result<i32, KafkaError> {
    let client = plain_client(connection, "topics")?;
    let names = [one.to_owned(), other.to_owned()];
    let look = move || {
        let count =
            |name: &String| offsets::partition_count(&client, name, TIMEOUT)?.ok_or_else(|| offsets::no_topic(name));
        let [one, other] = [count(&names[0])?, count(&names[1])?];
        if one == other {
            return Ok(one);
        }
        Err(KafkaError::Invalid {
            what: "number of partitions",
            reason: format!(
                "{} has {one} and {} has {other}; they must be the same, and stay as they were created",
                names[0], names[1]
            ),
        })
    };
    tokio::task::spawn_blocking(look).await.map_err(|_gone| KafkaError::Closed)?
}

/// What a topic's setting is now; `None`: Kafka knows no such setting.
///
/// # Errors
/// There is no such topic; the cluster did not answer, or refuses.
pub async fn setting(connection: &Connection, topic: &str, name: &str) -> Result<Option<String>, KafkaError> {
    let call = || format!("describe the configuration of {topic}");
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = admin(connection)?
        .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
        .await
        .map_err(|error| KafkaError::from_rdkafka(call(), &error))?;
    let Some(resource) = described.into_iter().next() else { return Ok(None) };
    let mut values = values(&resource.map_err(|code| KafkaError::call(call(), code))?);
    Ok(values.remove(name))
}
