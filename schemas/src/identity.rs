//! Who an event is, and the ids derived from that.
//!
//! An event is (application, source, id), as in `CloudEvents`. All derived ids are UUIDv5 over length-prefixed parts, so that
//! no two different identities can share the hashed text.

use uuid::Uuid;

use crate::ids::{ApplicationId, DeliveryId, Generation, SubscriptionId};

/// Namespace of [`EventIdentity::uuid`]. Fixed for ever: the `seen` topic holds hashes made with it.
const EVENT_NAMESPACE: Uuid = Uuid::from_u128(0x5e1f_7c0a_39d4_5b7e_8a61_0c4f_2d9b_e801);
/// Namespace of delivery ids. Fixed for ever: receivers deduplicate by them.
const DELIVERY_NAMESPACE: Uuid = Uuid::from_u128(0x5e1f_7c0a_39d4_5b7e_8a61_0c4f_2d9b_e802);
/// Namespace of operational events' ids. Fixed for ever: made again of one cause an event is a repeat.
const OPERATIONAL_NAMESPACE: Uuid = Uuid::from_u128(0x5e1f_7c0a_39d4_5b7e_8a61_0c4f_2d9b_e803);

/// The identity of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventIdentity {
    /// The application it belongs to.
    pub application: ApplicationId,
    /// `ce_source`.
    pub source: String,
    /// `ce_id`.
    pub id: String,
}

impl EventIdentity {
    /// UUIDv5 of (application, source, id): the dedup hash, and the event's id for clients that know UUIDs only.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        event_uuid(self.application, &self.source, &self.id)
    }

    /// The delivery id of this event for one subscription and generation.
    #[must_use]
    pub fn delivery_id(&self, subscription: SubscriptionId, generation: Generation) -> DeliveryId {
        delivery_id(self.application, &self.source, &self.id, subscription, generation)
    }

    /// `webhook-id`: the event id if it came over HTTP and is plain, else [`Self::uuid`].
    #[must_use]
    pub fn webhook_id(&self) -> String {
        let over_http = self.source == gateway_source(self.application);
        let plain = !self.id.contains('.') && self.id.bytes().all(|byte| byte.is_ascii_graphic());
        if over_http && plain { self.id.clone() } else { self.uuid().to_string() }
    }
}

/// The one source the gateway uses for an application, a URI reference.
#[must_use]
pub fn gateway_source(application: ApplicationId) -> String {
    format!("/applications/{application}")
}

/// Whether a source is the gateway's of this application, without making its text.
#[must_use]
pub fn is_gateway_source(application: ApplicationId, source: &str) -> bool {
    let mut buffer = Uuid::encode_buffer();
    let id: &str = application.0.hyphenated().encode_lower(&mut buffer);
    source.strip_prefix("/applications/") == Some(id)
}

/// The id of a record that brought none. It needs no deduplication: the offset commit already makes it exactly once.
#[must_use]
pub fn positional_id(topic: &str, partition: i32, offset: i64, timestamp_ms: i64) -> String {
    format!("{topic}-{partition}-{offset}-{timestamp_ms}")
}

/// [`EventIdentity::uuid`] without owning the parts.
#[must_use]
pub fn event_uuid(application: ApplicationId, source: &str, id: &str) -> Uuid {
    Uuid::new_v5(&EVENT_NAMESPACE, &length_prefixed(&[application.0.as_bytes(), source.as_bytes(), id.as_bytes()]))
}

/// [`EventIdentity::delivery_id`] without owning the parts.
#[must_use]
pub fn delivery_id(
    application: ApplicationId,
    source: &str,
    id: &str,
    subscription: SubscriptionId,
    generation: Generation,
) -> DeliveryId {
    let generation = generation.0.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
    let parts = [
        application.0.as_bytes().as_slice(),
        source.as_bytes(),
        id.as_bytes(),
        subscription.0.as_bytes().as_slice(),
        generation.as_slice(),
    ];
    DeliveryId(Uuid::new_v5(&DELIVERY_NAMESPACE, &length_prefixed(&parts)))
}

/// The id of an operational event: of what type, about what, and what it was made of.
#[must_use]
pub(crate) fn operational_id(event_type: &str, subject: &[&[u8]], cause: &str) -> Uuid {
    let mut parts = vec![event_type.as_bytes()];
    parts.extend_from_slice(subject);
    parts.push(cause.as_bytes());
    Uuid::new_v5(&OPERATIONAL_NAMESPACE, &length_prefixed(&parts))
}

fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(source: &str, id: &str) -> EventIdentity {
        EventIdentity { application: ApplicationId(Uuid::from_u128(1)), source: source.into(), id: id.into() }
    }

    #[test]
    fn moving_a_byte_between_source_and_id_changes_every_derived_id() {
        let (a, b) = (identity("ab", "c"), identity("a", "bc"));
        assert_ne!(a.uuid(), b.uuid());
        let subscription = SubscriptionId(Uuid::from_u128(2));
        assert_ne!(
            a.delivery_id(subscription, Generation::default()),
            b.delivery_id(subscription, Generation::default())
        );
    }

    #[test]
    fn ids_are_frozen() {
        let event = identity("/applications/x", "evt_1");
        assert_eq!(event.uuid().to_string(), "f923b90c-a70e-57f5-9536-f55aecaadb8e");
        let delivery = event.delivery_id(SubscriptionId(Uuid::from_u128(2)), Generation::default());
        assert_eq!(delivery.to_string(), "648aa157-7f28-5037-9af1-2c8364067bd2");
    }

    #[test]
    fn a_source_is_the_gateways_of_one_application_only() {
        let (one, other) = (ApplicationId(Uuid::from_u128(1)), ApplicationId(Uuid::from_u128(2)));
        assert!(is_gateway_source(one, &gateway_source(one)));
        for source in [gateway_source(other), gateway_source(one) + "/x", "/topics/x".to_owned(), String::new()] {
            assert!(!is_gateway_source(one, &source), "{source}");
        }
    }

    #[test]
    fn webhook_id_is_the_event_id_only_when_it_is_plain_and_came_over_http() {
        let source = gateway_source(ApplicationId(Uuid::from_u128(1)));
        assert_eq!(identity(&source, "evt_1").webhook_id(), "evt_1");
        for odd in [identity(&source, "a.b"), identity(&source, "a\u{1}b"), identity("/topics/x", "evt_1")] {
            assert_eq!(odd.webhook_id(), odd.uuid().to_string());
        }
    }
}
