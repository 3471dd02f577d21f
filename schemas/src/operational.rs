//! Events of Hookbus about itself, for the application that its operator names: ordinary events on `events`, matched and delivered
//! like any other. The value is JSON.
//!
//! An event that is made twice of one cause (after a crash, by another replica) has one id, so that the fan-out drops the second.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::event::EventHeaders;
use crate::event_type::EventTypeName;
use crate::identity;
use crate::ids::{ApplicationId, SubscriptionId};
use crate::record::OutRecord;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationalKind {
    /// It is disabled, by whomever.
    SubscriptionDisabled,
    /// Its endpoint took a delivery again after nothing had worked for a while.
    SubscriptionRecovered,
    /// One of its deliveries will not be attempted again.
    AttemptsExhausted,
    /// An event type is deprecated, or is so from or until another time than before.
    EventTypeDeprecated,
    /// An event type is not deprecated any more.
    EventTypeReinstated,
}

/// What it has happened to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OperationalSubject {
    /// A subscription.
    Subscription(SubscriptionId),
    /// An event type of an application.
    EventType(ApplicationId, EventTypeName),
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationalEvent {
    /// What has happened.
    pub kind: OperationalKind,
    /// The application that gets it.
    pub application: ApplicationId,
    /// What it is about.
    pub subject: OperationalSubject,
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
    pub const ALL: [Self; 5] = [
        Self::SubscriptionDisabled,
        Self::SubscriptionRecovered,
        Self::AttemptsExhausted,
        Self::EventTypeDeprecated,
        Self::EventTypeReinstated,
    ];

    /// Its event type.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        match self {
            Self::SubscriptionDisabled => "hookbus.subscription.disabled",
            Self::SubscriptionRecovered => "hookbus.subscription.recovered",
            Self::AttemptsExhausted => "hookbus.subscription.attempts_exhausted",
            Self::EventTypeDeprecated => "hookbus.event_type.deprecated",
            Self::EventTypeReinstated => "hookbus.event_type.reinstated",
        }
    }
}

// === impl OperationalSubject ===

impl OperationalSubject {
    /// The key of its events, so that they keep their order.
    fn key(&self) -> Bytes {
        match self {
            Self::Subscription(id) => crate::delivery::key(*id),
            Self::EventType(application, name) => Bytes::from(format!("{application}/{name}")),
        }
    }

    /// The field that names it, and how.
    fn named(&self) -> (&'static str, Value) {
        match self {
            Self::Subscription(id) => ("subscription_id", id.to_string().into()),
            Self::EventType(_, name) => ("event_type", name.as_str().into()),
        }
    }
}

// === impl OperationalEvent ===

impl OperationalEvent {
    /// Its id: of equal causes the same.
    #[must_use]
    pub fn id(&self) -> String {
        let id = |subject: &[&[u8]]| identity::operational_id(self.kind.event_type(), subject, &self.cause);
        let id = match &self.subject {
            OperationalSubject::Subscription(subscription) => id(&[subscription.0.as_bytes()]),
            OperationalSubject::EventType(application, name) => {
                id(&[application.0.as_bytes(), name.as_str().as_bytes()])
            }
        };
        id.to_string()
    }

    /// Its record on `events`. Events about one thing have one key, so they keep their order.
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
        let (name, subject) = self.subject.named();
        value.insert(name.to_owned(), subject);
        Ok(OutRecord {
            topic,
            partition: None,
            key: Some(self.subject.key()),
            value: Some(Bytes::from(serde_json::to_vec(&value)?)),
            headers: headers.encode()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::header;

    fn event(cause: &str) -> OperationalEvent {
        OperationalEvent {
            kind: OperationalKind::SubscriptionRecovered,
            application: ApplicationId(Uuid::from_u128(1)),
            subject: OperationalSubject::Subscription(SubscriptionId(Uuid::from_u128(2))),
            cause: cause.to_owned(),
            at_ms: 1_790_000_000_000,
            data: Map::from_iter([("failing_since".to_owned(), Value::from("x"))]),
        }
    }

    fn of_type(name: &str) -> OperationalEvent {
        let name = EventTypeName::parse(name).unwrap();
        OperationalEvent {
            subject: OperationalSubject::EventType(ApplicationId(Uuid::from_u128(2)), name),
            ..event("5")
        }
    }

    #[test]
    fn an_event_type_is_named_and_has_a_key_of_its_own() {
        assert_eq!(of_type("a.b").id(), of_type("a.b").id());
        assert_ne!(of_type("a.b").id(), of_type("a.c").id());
        let record = of_type("a.b").record(Arc::from("events")).unwrap();
        assert_eq!(record.key.as_deref(), Some(b"00000000-0000-0000-0000-000000000002/a.b".as_slice()));
        let value: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        assert_eq!((&value["event_type"], value.get("subscription_id")), (&Value::from("a.b"), None));
    }

    #[test]
    fn one_cause_is_one_event_and_another_is_another() {
        assert_eq!(event("5").id(), event("5").id());
        assert_eq!(event("5").id(), "09df6ea5-e121-5314-8b70-c50dab993e8d", "fixed for ever: receivers know it");
        let others = [
            event("6").id(),
            OperationalEvent { kind: OperationalKind::AttemptsExhausted, ..event("5") }.id(),
            OperationalEvent {
                subject: OperationalSubject::Subscription(SubscriptionId(Uuid::from_u128(3))),
                ..event("5")
            }
            .id(),
            of_type("a.b").id(),
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
