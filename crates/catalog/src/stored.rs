//! One object as it stands in the snapshot, taken out to be looked at after the lock is gone.

use std::sync::Arc;

use schemas::control::{
    Application, ApplicationSecret, CancelledJob, ControlKey, ControlObject, KeptAnswer, Organization,
    RetiredApplication, SchemaRegistry, ServiceToken, TopicSource,
};
use vault::LookupHash;

use crate::event_type::EventType;
use crate::snapshot::Snapshot;
use crate::subscription::Subscription;

/// An object as the snapshot keeps it.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Organization(Arc<Organization>),
    ServiceToken(LookupHash, Arc<ServiceToken>),
    Application(Arc<Application>),
    ApplicationSecret(LookupHash, Arc<ApplicationSecret>),
    RetiredApplication(Arc<RetiredApplication>),
    EventType(Arc<EventType>),
    Subscription(Arc<Subscription>),
    Source(Arc<TopicSource>),
    SchemaRegistry(Arc<SchemaRegistry>),
    KeptAnswer(Arc<KeptAnswer>),
    CancelledJob(Arc<CancelledJob>),
}

/// An object of the snapshot. Cheap to take, put together when it is asked for.
#[derive(Clone, Debug)]
pub struct Stored(Object);

impl Stored {
    /// The control object.
    #[must_use]
    pub fn object(&self) -> ControlObject {
        match &self.0 {
            Object::Organization(it) => ControlObject::Organization((**it).clone()),
            Object::ServiceToken(_, it) => ControlObject::ServiceToken((**it).clone()),
            Object::Application(it) => ControlObject::Application((**it).clone()),
            Object::ApplicationSecret(_, it) => ControlObject::ApplicationSecret((**it).clone()),
            Object::RetiredApplication(it) => ControlObject::RetiredApplication((**it).clone()),
            Object::EventType(it) => ControlObject::EventType(it.object().clone()),
            Object::Subscription(it) => ControlObject::Subscription(Box::new(it.object())),
            Object::Source(it) => ControlObject::Source(Box::new((**it).clone())),
            Object::SchemaRegistry(it) => ControlObject::SchemaRegistry(Box::new((**it).clone())),
            Object::KeptAnswer(it) => ControlObject::KeptAnswer((**it).clone()),
            Object::CancelledJob(it) => ControlObject::CancelledJob((**it).clone()),
        }
    }
}

impl Snapshot {
    /// The object under a key, whether or not what it belongs to is there.
    #[must_use]
    pub fn stored(&self, key: &ControlKey) -> Option<Stored> {
        self.held(key).map(Stored)
    }
}

impl Object {
    /// A subscription knows what it weighs.
    pub(crate) fn weighing(self, weight: u32) -> Self {
        match self {
            Self::Subscription(mut it) => {
                if let Some(fresh) = Arc::get_mut(&mut it) {
                    fresh.set_weight(weight);
                }
                Self::Subscription(it)
            }
            other @ (Self::Organization(_)
            | Self::ServiceToken(..)
            | Self::Application(_)
            | Self::ApplicationSecret(..)
            | Self::RetiredApplication(_)
            | Self::EventType(_)
            | Self::Source(_)
            | Self::SchemaRegistry(_)
            | Self::KeptAnswer(_)
            | Self::CancelledJob(_)) => other,
        }
    }

    /// The key it stands under.
    pub(crate) fn key(&self) -> ControlKey {
        match self {
            Self::Organization(it) => ControlKey::Organization(it.organization_id),
            Self::ServiceToken(_, it) => ControlKey::ServiceToken(it.organization_id, it.token_id),
            Self::Application(it) => ControlKey::Application(it.organization_id, it.application_id),
            Self::ApplicationSecret(_, it) => ControlKey::ApplicationSecret(it.application_id, it.secret_id),
            Self::RetiredApplication(it) => ControlKey::RetiredApplication(it.application_id),
            Self::EventType(it) => ControlKey::EventType(it.application_id, it.name.clone()),
            Self::Subscription(it) => ControlKey::Subscription(it.application(), it.id()),
            Self::Source(it) => ControlKey::Source(it.organization_id, it.source_id),
            Self::SchemaRegistry(it) => ControlKey::SchemaRegistry(it.schema_registry_id),
            Self::KeptAnswer(it) => ControlKey::KeptAnswer(it.organization_id, it.answer_id),
            Self::CancelledJob(it) => ControlKey::CancelledJob(it.application_id, it.job_id),
        }
    }
}
