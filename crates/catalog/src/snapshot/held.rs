//! The object under a key, as the snapshot keeps it.

use std::sync::Arc;

use schemas::control::ControlKey;

use super::Snapshot;
use crate::stored::Object;

impl Snapshot {
    /// What stands under a key.
    pub(crate) fn held(&self, key: &ControlKey) -> Option<Object> {
        Some(match key {
            ControlKey::Organization(id) => Object::Organization(Arc::clone(self.organization(*id)?)),
            ControlKey::ServiceToken(_, id) => {
                let (lookup, token) = self.service_tokens.get(id)?;
                Object::ServiceToken(*lookup, Arc::clone(token))
            }
            ControlKey::Application(_, id) => Object::Application(Arc::clone(self.application_by_id(*id)?)),
            ControlKey::ApplicationSecret(application, id) => {
                let (lookup, secret) = self.scopes.get(application)?.secrets.get(id)?;
                Object::ApplicationSecret(*lookup, Arc::clone(secret))
            }
            ControlKey::RetiredApplication(id) => {
                Object::RetiredApplication(Arc::clone(self.retired_application(*id)?))
            }
            ControlKey::EventType(application, name) => {
                Object::EventType(Arc::clone(self.scopes.get(application)?.event_types.get(name.as_str())?))
            }
            ControlKey::Subscription(_, id) => Object::Subscription(Arc::clone(&self.subscriptions.get(id)?.0)),
            ControlKey::Source(_, id) => Object::Source(Arc::clone(self.source(*id)?)),
            ControlKey::SchemaRegistry(id) => Object::SchemaRegistry(Arc::clone(self.schema_registry(*id)?)),
            ControlKey::KeptAnswer(_, id) => Object::KeptAnswer(Arc::clone(self.kept_answer(*id)?)),
            ControlKey::CancelledJob(application, id) => {
                Object::CancelledJob(Arc::clone(self.cancelled_job(*application, *id)?))
            }
        })
    }
}
