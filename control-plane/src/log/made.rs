//! Rows of the log as tests need them.

use std::sync::Arc;

use catalog::Catalog;
use delivery_log::{Coordinates, Fact, FactKind, LoggedEvent};
use schemas::ids::ApplicationId;
use uuid::Uuid;
use vault::{EncryptionKey, Vault};

/// A catalog with nothing in it.
pub(crate) fn catalog() -> Catalog {
    Catalog::of([], Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap()))
}

/// An event that came through the gateway and says nothing beyond that.
pub(crate) fn event(application: ApplicationId) -> LoggedEvent {
    LoggedEvent {
        coordinates: Coordinates { partition: 0, offset: 0 },
        stored_ms: 0,
        at_ms: 0,
        application,
        uuid: Uuid::nil(),
        id: "evt_1".to_owned(),
        source: None,
        event_type: "invoice.paid".to_owned(),
        accepted_ms: 0,
        origin: None,
        matched: 0,
        payload_bytes: 0,
        content_type: None,
        occurred_at: None,
        labels: None,
        metadata: None,
        ip: None,
        detail: None,
        subscriptions: None,
        control_offset: None,
    }
}

/// A fact of an application that says nothing beyond its kind.
pub(crate) fn fact(application: ApplicationId, kind: FactKind) -> Fact {
    Fact {
        coordinates: Coordinates { partition: 0, offset: 0 },
        stored_ms: 0,
        kind,
        at_ms: 0,
        application: Some(application),
        event: None,
        event_type: None,
        accepted_ms: None,
        subscription: None,
        delivery: None,
        generation: None,
        made_by: None,
        attempt: None,
        due_ms: None,
        reason: None,
        detail: None,
        exchange: None,
        record: None,
    }
}
