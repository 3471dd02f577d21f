//! An accepted event, read again as it was delivered.
//!
//! ```text
//! record of `events` ----------------------------------------------------------------------> as it stands there
//! record of a source --the mapping of whoever reads its topic now--> is it what the log says? --yes--> what that made of it
//!                                                                             | no, or nobody reads it
//!                                                                             v
//!                                          a copy of it on `deliveries`, or as a dead letter, or nothing: it is expired
//! ```
//!
//! A source's mapping comes to the same event for the same record, so as long as it is what it was, nothing has to be kept for that.
//! Where it was changed since, what it makes now is another event under the same `webhook-id`: then what was delivered counts, and
//! what was never delivered is not sent under the id of what it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Catalog;
use chassis::clock;
use delivery_log::{Coordinates, Day, DeliveryStore, Fact, FactQuery, LoggedEvent, PageOf, Subject};
use parking_lot::Mutex;
use schemas::control::{Application, TopicSource};
use schemas::delivery::{Delivery, Origin};
use schemas::event::StringMap;
use schemas::identity::event_uuid;
use schemas::ids::SourceId;
use schemas::record::{Record, TopicPartition};
use schemas::topics::Topics;
use sources::{Against, Event, Mapped, Mapping};
use tracing::warn;

use super::fetch::NotReadBack;
use super::{DeliveryLog, failed};
use crate::problem::{Problem, unavailable};

/// Facts of an event that are looked through for a copy of it.
const LOOKED_AT: usize = 50;
/// Copies that are read back at most.
const COPIES: usize = 4;
/// How long a partition that is gone, or may not be read, is not asked for again.
const CLOSED: Duration = Duration::from_secs(30);

/// Reads accepted events again. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedEvents(Arc<AcceptedInner>);

#[derive(Debug)]
struct AcceptedInner {
    catalog: Catalog,
    log: DeliveryLog,
    events: Arc<str>,
    deliveries: Arc<str>,
    /// Most bytes that a record is decoded to.
    decoded_limit: usize,
    /// The mappings of sources as they are now, as far as they were needed.
    compiled: Mutex<BTreeMap<SourceId, CompiledSource>>,
    /// Partitions of others that are gone or may not be read, each until it is asked for again.
    closed: Mutex<BTreeMap<TopicPartition, Instant>>,
}

#[derive(Clone, Debug)]
struct CompiledSource {
    source: Arc<TopicSource>,
    /// None: a newer build wrote it.
    mapping: Option<Arc<Mapping>>,
}

// === impl AcceptedEvents ===

impl AcceptedEvents {
    pub(crate) fn new(catalog: Catalog, log: DeliveryLog, topics: &Topics, decoded_limit: usize) -> Self {
        let (events, deliveries) = (Arc::clone(&topics.events), Arc::clone(&topics.deliveries));
        let (compiled, closed) = (Mutex::default(), Mutex::default());
        Self(Arc::new(AcceptedInner { catalog, log, events, deliveries, decoded_limit, compiled, closed }))
    }

    /// Whether the records of a topic are what was accepted, and need no mapping.
    pub(crate) fn is_own(&self, topic: &str) -> bool {
        topic == &*self.0.events
    }

    /// The record of an event as it would stand on `events`; `None`: Kafka does not hold it any more, or not as it was.
    ///
    /// # Errors
    /// 503 where Kafka or the log does not answer.
    pub(crate) async fn record(
        &self,
        application: &Application,
        event: &LoggedEvent,
    ) -> Result<Option<Record>, Problem> {
        let Some(origin) = &event.origin else { return Ok(None) };
        if self.is_own(&origin.topic) {
            let record = self.0.log.read_back()?.record(origin).await?;
            return Ok(record.and_then(|record| self.of_record(record, origin, (application, event))));
        }
        let not_read = match self.read(origin).await {
            Ok(record) => match record.and_then(|record| self.of_record(record, origin, (application, event))) {
                Some(found) => return Ok(Some(found)),
                None => None,
            },
            Err(error) => Some(error),
        };
        match (self.copy(application, event).await?, not_read) {
            (Some(copy), _) => Ok(Some(copy)),
            (None, None) => Ok(None),
            // Their topic is gone for good, or closed to us: whoever waited for it would wait for ever.
            (None, Some(error)) if error.is_final => Ok(None),
            (None, Some(error)) => Err(error.problem),
        }
    }

    /// A record of somebody else's topic.
    async fn read(&self, origin: &Origin) -> Result<Option<Record>, NotReadBack> {
        let (now, partition) = (clock::instant(), TopicPartition::new(origin.topic.as_str(), origin.partition));
        let is_closed = self.0.closed.lock().get(&partition).is_some_and(|until| now < *until);
        if is_closed {
            let problem = unavailable(format!("{partition} is gone, or may not be read"));
            return Err(NotReadBack { problem, is_final: true });
        }
        let error = match self.0.log.read_back()?.try_record(origin).await {
            Ok(record) => return Ok(record),
            Err(error) => error,
        };
        // A reader waits in vain for what is gone, and is not told so.
        if !error.is_final && !self.0.log.is_gone(origin).await {
            return Err(error);
        }
        let mut closed = self.0.closed.lock();
        closed.retain(|_, until| now < *until);
        if closed.insert(partition.clone(), now + CLOSED).is_none() {
            let reason = error.problem.detail.as_str();
            warn!(%partition, reason, "it is gone, or may not be read: events of it are sent again only where a delivery of theirs is held");
        }
        Err(NotReadBack { is_final: true, ..error })
    }

    /// What stands at the place of an event, if it is that event.
    fn of_record(
        &self,
        record: Record,
        origin: &Origin,
        (application, event): (&Application, &LoggedEvent),
    ) -> Option<Record> {
        let from = TopicPartition::new(origin.topic.as_str(), origin.partition);
        if self.is_own(&origin.topic) {
            let is_it = sources::decode(&record, &from).is_ok_and(|found| is_called_so(&found, application, event));
            return is_it.then_some(record);
        }
        let Some(compiled) = self.source_of(&origin.topic) else {
            // Its source is gone: what is a CloudEvent by itself needs none.
            let found = sources::decode(&record, &from).ok().filter(|found| is_as_it_was(found, application, event))?;
            return Some(as_accepted(&found, &record));
        };
        let mapping = compiled.mapping?;
        let against = Against { decoded_limit: self.0.decoded_limit, ..Against::default() };
        let Mapped::Event(found) = mapping.map(&record, &from, against) else { return None };
        let is_theirs = compiled.source.organization_id == application.organization_id;
        (is_theirs && is_as_it_was(&found, application, event)).then(|| as_accepted(&found, &record))
    }

    /// The source that reads a topic now, compiled.
    fn source_of(&self, topic: &str) -> Option<CompiledSource> {
        let sources = self.0.catalog.sources();
        let source = catalog::source_of_topic(&sources, topic)?;
        let mut compiled = self.0.compiled.lock();
        compiled.retain(|id, _| sources.contains_key(id));
        if let Some(known) = compiled.get(&source.source_id).filter(|known| Arc::ptr_eq(&known.source, source)) {
            return Some(known.clone());
        }
        let mapping = Mapping::compile(source).ok().map(Arc::new);
        let new = CompiledSource { source: Arc::clone(source), mapping };
        compiled.insert(source.source_id, new.clone());
        Some(new)
    }

    /// What was delivered of an event: any of its deliveries carries it byte for byte.
    async fn copy(&self, application: &Application, event: &LoggedEvent) -> Result<Option<Record>, Problem> {
        let store = self.0.log.store()?;
        let query = FactQuery {
            subject: Subject::Event(event.uuid),
            page: PageOf::newest(LOOKED_AT),
            ..FactQuery::of(application.application_id, LOOKED_AT)
        };
        let facts = store.facts(query).await.map_err(|error| failed(&error))?.rows;
        for fact in facts.iter().filter(|fact| fact.record.is_some()).take(COPIES) {
            let found = match self.delivered(fact.record).await? {
                Some(found) => Some(found),
                None => self.dead_letter(store.as_ref(), application, fact).await?,
            };
            if let Some(record) = found.and_then(|found| of_copy(found, (application, event))) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    async fn delivered(&self, at: Option<Coordinates>) -> Result<Option<Delivery>, Problem> {
        let Some(at) = at else { return Ok(None) };
        let origin = Origin { topic: self.0.deliveries.to_string(), partition: at.partition, offset: at.offset };
        let record = self.0.log.read_back()?.record(&origin).await?;
        Ok(record.and_then(|record| Delivery::decode(&record).ok()))
    }

    async fn dead_letter(
        &self,
        store: &dyn DeliveryStore,
        application: &Application,
        fact: &Fact,
    ) -> Result<Option<Delivery>, Problem> {
        let Some(delivery) = fact.delivery else { return Ok(None) };
        let history = store.histories(application.application_id, vec![(delivery, Day::of(0))]).await;
        let history = history.map_err(|error| failed(&error))?;
        let Some((dead, _)) = super::letters::letter(&history) else { return Ok(None) };
        self.0.log.dead_letter(dead).await
    }
}

/// Whether it is the event of the log by its names alone: what was accepted on `events` is what it was.
fn is_called_so(found: &Event<'_>, application: &Application, event: &LoggedEvent) -> bool {
    application.is_called(&found.application)
        && event_uuid(application.application_id, &found.source, &found.id) == event.uuid
}

/// Whether it is the event of the log, and as it was.
fn is_as_it_was(found: &Event<'_>, application: &Application, event: &LoggedEvent) -> bool {
    let is_same_map = |found: Option<&[u8]>, logged: Option<&str>| map(found) == map(logged.map(str::as_bytes));
    is_called_so(found, application, event)
        && found.event_type == event.event_type
        && found.content_type.as_deref() == event.content_type.as_deref()
        && found.time.as_deref() == event.occurred_at.as_deref()
        && found.payload.len() as u64 == event.payload_bytes
        && is_same_map(found.labels.as_deref(), event.labels.as_deref())
        && is_same_map(found.metadata.as_deref(), event.metadata.as_deref())
}

fn map(json: Option<&[u8]>) -> StringMap {
    json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

/// An event as a record of `events`: with the attributes that every delivery begins with.
fn as_accepted(found: &Event<'_>, record: &Record) -> Record {
    Record {
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.clone(),
        value: Some(found.payload.clone()),
        headers: found.headers.clone(),
    }
}

/// The event of a delivery, if it is this one.
fn of_copy(found: Delivery, (application, event): (&Application, &LoggedEvent)) -> Option<Record> {
    let is_it = found.application == application.application_id
        && event_uuid(found.application, found.event_source(), found.event_id()) == event.uuid;
    is_it.then(|| found.event_record())
}

#[cfg(test)]
mod tests;
