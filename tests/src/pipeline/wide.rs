//! An application with far more subscriptions than a test makes one by one.
//!
//! They stand on `control` as the control plane would have written them. Nobody but the fan-out has to run, and the ledger knows nothing of them: what was written is counted here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use schemas::attempt::{Kind, Lifecycle};
use schemas::control::{ControlObject, Target};
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, OrganizationId, SubscriptionId};
use schemas::record::{Headers, OutRecord, Record};
use uuid::Uuid;

use super::{Application, Pipeline};
use crate::ledger::collect;

/// The type of event that all of its subscriptions want.
pub const EVENT_TYPE: &str = "wide.open";
/// Subscriptions that one of our producers sends at once.
const AT_ONCE: usize = 500;

/// The application and whom its events are for.
#[derive(Debug)]
pub struct Wide {
    /// Its events are sent as those of any other.
    pub application: Application,
    /// Whose it is.
    pub organization: OrganizationId,
    subscriptions: Vec<SubscriptionId>,
}

/// What stands on `deliveries` and `attempts` of one event, read committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WideWritten {
    /// Deliveries, each that is written twice counted twice.
    pub deliveries: usize,
    /// Subscriptions without one.
    pub missing: usize,
    /// Subscriptions with more than one.
    pub doubled: usize,
    /// How many it matched, for each lifecycle record that says so.
    pub matched: Vec<u32>,
}

// === impl Wide ===

impl Wide {
    /// Whom its events are for.
    #[must_use]
    pub fn subscriptions(&self) -> &[SubscriptionId] {
        &self.subscriptions
    }

    /// What is written of an event with this id.
    ///
    /// # Errors
    /// A topic cannot be read.
    pub async fn written(&self, pipeline: &Pipeline, event: &str) -> anyhow::Result<WideWritten> {
        let is_of = |record: &Record| record.headers.text(schemas::header::CE_ID) == Some(event);
        let receiver = |_, record: Record| is_of(&record).then(|| record.key.clone()).flatten();
        let topics = pipeline.topics();
        let matched = |_, record: Record| {
            let told = Lifecycle::decode(record.value.as_ref()?).ok()?;
            let facts = told.event.filter(|_| told.kind == Kind::Matched)?;
            (told.event_id.as_deref() == Some(event)).then_some(facts.matched)
        };
        // First, lest the event ends between the two.
        let matched = collect::each_of(pipeline.connection(), &topics.attempts, matched).await?;
        let keys = collect::each_of(pipeline.connection(), &topics.deliveries, receiver).await?;
        let mut counts: BTreeMap<Bytes, usize> = BTreeMap::new();
        keys.into_iter().flatten().for_each(|key| *counts.entry(key).or_default() += 1);
        let count = |id: &SubscriptionId| counts.get(id.to_string().as_bytes()).copied().unwrap_or_default();
        Ok(WideWritten {
            deliveries: counts.values().sum(),
            missing: self.subscriptions.iter().filter(|id| count(id) == 0).count(),
            doubled: self.subscriptions.iter().filter(|id| count(id) > 1).count(),
            matched: matched.into_iter().flatten().collect(),
        })
    }
}

// === impl WideWritten ===

impl WideWritten {
    /// What it is when each of so many has it once, and that is told once.
    #[must_use]
    pub fn once(deliveries: usize) -> Self {
        let matched = u32::try_from(deliveries).into_iter().collect();
        Self { deliveries, missing: 0, doubled: 0, matched }
    }
}

impl fmt::Display for WideWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deliveries, missing, doubled, matched } = self;
        write!(f, "{deliveries} deliveries, {missing} missing, {doubled} doubled, matched {matched:?}")
    }
}

impl Pipeline {
    /// Writes an application with so many subscriptions to `control`, whose ids are in no order.
    ///
    /// # Errors
    /// Kafka does not take a record.
    pub async fn wide(&self, subscriptions: usize) -> anyhow::Result<Wide> {
        let (id, organization) = (ApplicationId(Uuid::new_v4()), OrganizationId(self.organization.parse()?));
        let application = schemas::control::Application::new(id, organization, "wide", 0);
        let subscriptions: Vec<SubscriptionId> = (0..subscriptions).map(|_| SubscriptionId(Uuid::new_v4())).collect();
        let object = |subscription: &SubscriptionId| {
            ControlObject::Subscription(Box::new(schemas::control::Subscription {
                event_types: EventTypePattern::parse(EVENT_TYPE).into_iter().collect(),
                target: Target { method: "POST".into(), url: self.endpoint.url("/wide"), ..Target::default() },
                ..schemas::control::Subscription::new(*subscription, id, 0)
            }))
        };
        self.produce_all([self.on_control(&ControlObject::Application(application))?]).await?;
        for part in subscriptions.chunks(AT_ONCE) {
            let records: anyhow::Result<Vec<OutRecord>> =
                part.iter().map(|subscription| self.on_control(&object(subscription))).collect();
            self.produce_all(records?).await?;
        }
        Ok(Wide { application: Application { id, token: String::new() }, organization, subscriptions })
    }

    /// Writes an object to `control` as the control plane would have written it, or writes it anew.
    ///
    /// # Errors
    /// Kafka does not take it.
    pub async fn put(&self, object: &ControlObject) -> anyhow::Result<()> {
        self.produce_all([self.on_control(object)?]).await
    }

    fn on_control(&self, object: &ControlObject) -> anyhow::Result<OutRecord> {
        Ok(OutRecord {
            topic: Arc::clone(&self.topics.control),
            partition: None,
            key: Some(object.key().to_string().into()),
            value: Some(object.encode()?.into()),
            headers: Headers::default(),
        })
    }

    /// Writes records straight to Kafka, all at once, and waits for the acknowledgements.
    async fn produce_all(&self, records: impl IntoIterator<Item = OutRecord>) -> anyhow::Result<()> {
        let sent = records.into_iter().map(|record| self.producer.send(&record)).collect::<Result<Vec<_>, _>>()?;
        for acknowledged in sent {
            acknowledged.await?;
        }
        Ok(())
    }
}
