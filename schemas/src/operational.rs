//! Events of Hookbus about itself, for the application that its operator names: ordinary events on `events`, matched and delivered
//! like any other. The value is JSON.
//!
//! An event that is made twice of one cause (after a crash, by another replica) has one id, so that the fan-out drops the second.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::event::EventHeaders;
use crate::identity;
use crate::ids::{ApplicationId, SubscriptionId};
use crate::record::OutRecord;

/// What has happened to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationalKind {
    /// It is disabled, by whomever.
    SubscriptionDisabled,
    /// Its endpoint took a delivery again after nothing had worked for a while.
    SubscriptionRecovered,
    /// One of its deliveries will not be attempted again.
    AttemptsExhausted,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationalEvent {
    /// What has happened.
    pub kind: OperationalKind,
    /// The application that gets it.
    pub application: ApplicationId,
    /// The subscription it is about.
    pub subscription: SubscriptionId,
    /// What it was made of, so that it is the same event if it is made again.
    pub cause: String,
    /// When it happened, Unix ms.
    pub at_ms: i64,
    /// The facts, a JSON object.
    pub data: Map<String, Value>,
}

// === impl OperationalKind ===

impl OperationalKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SubscriptionDisabled, Self::SubscriptionRecovered, Self::AttemptsExhausted];

    /// Its event type.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        match self {
            Self::SubscriptionDisabled => "hookbus.subscription.disabled",
            Self::SubscriptionRecovered => "hookbus.subscription.recovered",
            Self::AttemptsExhausted => "hookbus.subscription.attempts_exhausted",
        }
    }
}

// === impl OperationalEvent ===

impl OperationalEvent {
    /// Its id: of equal causes the same.
    #[must_use]
    pub fn id(&self) -> String {
        identity::operational_id(self.kind.event_type(), self.subscription, &self.cause).to_string()
    }

    /// Its record on `events`. Events about one subscription have one key, so they keep their order.
    ///
    /// # Errors
    /// Never in practice; passed on rather than hidden.
    pub fn record(&self, topic: Arc<str>) -> Result<OutRecord, serde_json::Error> {
        let at = jiff::Timestamp::from_millisecond(self.at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
        let (id, application, source) =
            (self.id(), self.application.to_string(), identity::gateway_source(self.application));
        let headers = EventHeaders {
            id: &id,
            is_id_made: false,
            event_type: self.kind.event_type(),
            source: &source,
            time: &at,
            content_type: "application/json",
            application: &application,
            labels: None,
            metadata: None,
            ip: None,
        };
        let mut value = self.data.clone();
        value.insert("type".to_owned(), self.kind.event_type().into());
        value.insert("at".to_owned(), at.clone().into());
        value.insert("subscription_id".to_owned(), self.subscription.to_string().into());
        Ok(OutRecord {
            topic,
            partition: None,
            key: Some(crate::delivery::key(self.subscription)),
            value: Some(Bytes::from(serde_json::to_vec(&value)?)),
            headers: headers.encode()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::event_type::EventTypeName;
    use crate::header;

    fn event(cause: &str) -> OperationalEvent {
        OperationalEvent {
            kind: OperationalKind::SubscriptionRecovered,
            application: ApplicationId(Uuid::from_u128(1)),
            subscription: SubscriptionId(Uuid::from_u128(2)),
            cause: cause.to_owned(),
            at_ms: 1_790_000_000_000,
            data: Map::from_iter([("failing_since".to_owned(), Value::from("x"))]),
        }
    }

    #[test]
    fn one_cause_is_one_event_and_another_is_another() {
        assert_eq!(event("5").id(), event("5").id());
        assert_eq!(event("5").id(), "09df6ea5-e121-5314-8b70-c50dab993e8d", "fixed for ever: receivers know it");
        let others = [
            event("6").id(),
            OperationalEvent { kind: OperationalKind::AttemptsExhausted, ..event("5") }.id(),
            OperationalEvent { subscription: SubscriptionId(Uuid::from_u128(3)), ..event("5") }.id(),
        ];
        assert!(others.iter().all(|other| *other != event("5").id()));
    }

    #[test]
    fn it_is_an_event_like_any_other() {
        for kind in OperationalKind::ALL {
            assert!(EventTypeName::parse(kind.event_type()).is_ok(), "{kind:?}");
        }
        let record = event("5").record(Arc::from("events")).unwrap();
        let text = |name| record.headers.text(name);
        assert_eq!(text(header::CE_TYPE), Some("hookbus.subscription.recovered"));
        assert_eq!(text(header::APPLICATION), Some("00000000-0000-0000-0000-000000000001"));
        assert_eq!((text(header::CE_ID), text(header::ID_MADE)), (Some(event("5").id().as_str()), None));
        let value: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        assert_eq!((&value["failing_since"], &value["at"]), (&Value::from("x"), &Value::from("2026-09-21T14:13:20Z")));
    }
}
