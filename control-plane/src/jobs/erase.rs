//! The record that an event is erased, and the audit's beside it: one transaction of this replica's own, as of what is asked of jobs.
//!
//! Written twice it says the same, so what may have been written is written again.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery_log::LoggedEvent;
use kafka::ExclusiveError;
use schemas::attempt::{Kind, Lifecycle};
use schemas::record::{Headers, OutRecord};
use tracing::warn;

use super::Jobs;
use super::ask::{AskSink, AskWriter, KafkaSink, PAUSE, unreachable};
use crate::actor::Actor;
use crate::problem::{Problem, internal};

/// The word of the audit.
const ACTION: &str = "event.erase";

/// An event whose content is to be erased.
#[derive(Clone, Debug)]
pub(crate) struct Erasure {
    /// The event.
    pub(crate) event: LoggedEvent,
    /// When somebody asked for it, Unix ms.
    pub(crate) at_ms: i64,
}

// === impl Erasure ===

impl Erasure {
    /// The key of the audit: the event by the UUID of its identity.
    fn key(&self) -> String {
        format!("event/{}/{}", self.event.application, self.event.uuid)
    }

    fn record(&self, topic: &Arc<str>, actor: &Actor) -> Result<OutRecord, serde_json::Error> {
        let lifecycle = Lifecycle {
            application_id: Some(self.event.application),
            event_id: Some(Cow::Borrowed(&self.event.id)),
            event_source: self.event.source.as_deref().map(Cow::Borrowed),
            event_type: Some(Cow::Borrowed(&self.event.event_type)),
            accepted_ms: Some(self.event.accepted_ms),
            actor: Some(Cow::Borrowed(&actor.name)),
            ..Lifecycle::new(Kind::Erased, self.at_ms)
        };
        let (topic, value) = (Arc::clone(topic), Some(Bytes::from(lifecycle.encode()?)));
        Ok(OutRecord { topic, partition: None, key: None, value, headers: Headers::default() })
    }
}

// === impl Jobs ===

impl Jobs {
    /// Writes that an event is erased.
    ///
    /// # Errors
    /// A 503: Kafka does not take it, or does not say in time whether it did.
    pub(crate) async fn erase(&self, erasure: &Erasure, actor: &Actor) -> Result<(), Problem> {
        self.0.ask.erase(erasure, actor).await
    }

    /// How long Kafka keeps a payload or an answer at most, behind the time at which it was written.
    pub(crate) fn content_kept(&self) -> Duration {
        self.0.ask.content_kept()
    }
}

// === impl AskWriter ===

impl AskWriter {
    async fn erase(&self, erasure: &Erasure, actor: &Actor) -> Result<(), Problem> {
        match self.sink() {
            AskSink::Kafka(kafka) => {
                let deadline = self.deadline();
                let _turn = self.take_turn(actor, deadline).await?;
                let written = kafka.erase(erasure, actor);
                tokio::time::timeout_at(deadline.into(), written).await.map_err(|_elapsed| late())?
            }
            #[cfg(test)]
            AskSink::Memory(_) => Ok(()),
        }
    }

    fn content_kept(&self) -> Duration {
        match self.sink() {
            AskSink::Kafka(kafka) => kafka.topics().content_kept,
            #[cfg(test)]
            AskSink::Memory(_) => schemas::topics::TopicSettings::default().topics().content_kept,
        }
    }
}

// === impl KafkaSink ===

impl KafkaSink {
    async fn erase(&self, erasure: &Erasure, actor: &Actor) -> Result<(), Problem> {
        let record = erasure.record(&self.topics().attempts, actor);
        let record = record.map_err(|error| internal("an erasure could not be encoded", &error))?;
        let records = vec![record, self.audit_of(erasure.key(), (actor, ACTION))?];
        loop {
            if let Err(error) = self.writer().acquire().await {
                warn!(%error, "an event cannot be erased now");
                if !error.is_retriable() {
                    return Err(unreachable(&error));
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            match self.writer().write(records.clone()).await {
                Ok(_written) => return Ok(()),
                Err(ExclusiveError::Fenced) => {}
                Err(ExclusiveError::Unknown(error)) => {
                    let event = erasure.event.uuid;
                    warn!(%error, %event, "whether an event is erased is unknown, writing it again");
                }
                Err(ExclusiveError::Refused(error)) if error.is_retriable() => tokio::time::sleep(PAUSE).await,
                Err(ExclusiveError::Refused(error)) => return Err(unreachable(&error)),
            }
        }
    }
}

fn late() -> Problem {
    super::ask::unknown("the erasure was not confirmed in time: ask for it again, which changes nothing where it was")
        .with_retry_after(1)
}
