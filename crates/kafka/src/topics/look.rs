//! What a role asks of its topics at its start, beside whether they exist.

use std::time::Duration;

use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{TIMEOUT, admin, require, values};
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::log;
use crate::offsets::{self, plain_client};

/// Between two tries of a question that Kafka did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks until Kafka answers: a role that starts while Kafka is away waits for it, as one that runs does. Each failure is a limited
/// line of the log. Cancel safe.
///
/// # Errors
/// What waiting does not cure: a topic that is missing, a missing authorization, a count that is not as it must be.
pub async fn until_answered<T, F>(ask: impl Fn() -> F) -> Result<T, KafkaError>
where
    F: Future<Output = Result<T, KafkaError>>,
{
    ask_every(AGAIN, ask).await
}

async fn ask_every<T, F>(pause: Duration, ask: impl Fn() -> F) -> Result<T, KafkaError>
where
    F: Future<Output = Result<T, KafkaError>>,
{
    loop {
        match ask().await {
            Err(error) if error.is_retriable() => log::call_failed(&error),
            answer => return answer,
        }
        tokio::time::sleep(pause).await;
    }
}

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
/// There is no such topic; it may not be described; the cluster did not answer, or refuses.
pub async fn setting(connection: &Connection, topic: &str, name: &str) -> Result<Option<String>, KafkaError> {
    let call = || format!("describe the configuration of {topic}");
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let described = admin(connection)?
        .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
        .await
        .map_err(|error| KafkaError::from_rdkafka(call(), &error))?;
    let resource = described.into_iter().next().transpose().map_err(|code| KafkaError::call(call(), code))?;
    if let Some(mut values) = resource.as_ref().and_then(values) {
        return Ok(values.remove(name));
    }
    require(connection, &[topic]).await?;
    Err(KafkaError::call(call(), Code::TopicAuthorizationFailed))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The answer that follows so many tries for which Kafka was away, and how many there were.
    async fn after(away: usize, answer: Result<i32, KafkaError>) -> (Result<i32, KafkaError>, usize) {
        let asked = AtomicUsize::new(0);
        let ask = || {
            let is_away = asked.fetch_add(1, Ordering::Relaxed) < away;
            let unanswered = Err(KafkaError::call("metadata of lanes", Code::OperationTimedOut));
            std::future::ready(if is_away { unanswered } else { answer.clone() })
        };
        let answer = ask_every(Duration::ZERO, ask).await;
        (answer, asked.into_inner())
    }

    #[tokio::test]
    async fn a_role_that_starts_while_kafka_is_away_asks_until_it_answers() {
        let (answer, asked) = after(3, Ok(8)).await;
        assert_eq!((answer.unwrap(), asked), (8, 4));
        let (answer, asked) = after(2, Err(offsets::no_topic("lanes"))).await;
        assert!(matches!(answer, Err(KafkaError::NoTopic { .. })) && asked == 3, "waiting makes no topic");
        let (answer, asked) =
            after(0, Err(KafkaError::call("metadata of lanes", Code::TopicAuthorizationFailed))).await;
        assert!(answer.is_err() && asked == 1, "nor does it permit anything");
    }
}
