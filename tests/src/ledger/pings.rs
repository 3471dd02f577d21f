//! Pings: deliveries that no event stands behind. The control plane writes them to `deliveries` itself and tells whoever asked.

use schemas::identity::{EventIdentity, gateway_source};
use schemas::ids::{ApplicationId, DeliveryId, Generation, SubscriptionId};
use uuid::Uuid;

use super::books::{Content, Event, Hopped, Place};

/// Type of every ping.
pub const EVENT_TYPE: &str = "hookbus.ping";

/// A ping that was answered with 202.
#[derive(Clone, Debug)]
pub struct Pinged {
    /// Its id: of the event, and of the generation.
    pub id: Uuid,
    /// For whom.
    pub subscription: SubscriptionId,
    /// The event it would be, at a place that no topic has.
    pub event: Event,
}

// === impl Pinged ===

impl Pinged {
    /// What follows from the answer.
    #[must_use]
    pub fn new(id: Uuid, application: ApplicationId, subscription: SubscriptionId, written_ms: i64) -> Self {
        let identity = EventIdentity { application, source: gateway_source(application), id: id.to_string() };
        let content = Content {
            identity,
            positional: false,
            event_type: EVENT_TYPE.to_owned(),
            labels: schemas::event::StringMap::new(),
            payload: 0,
        };
        let place = Place { topic: format!("ping {id}"), partition: 0, offset: 0 };
        Self { id, subscription, event: Event { place, written_ms, content: Some(content) } }
    }

    /// The delivery it is.
    #[must_use]
    pub fn delivery(&self) -> DeliveryId {
        let generation = Generation(Some(self.id));
        let content = self.event.content.as_ref();
        content.map_or(DeliveryId(Uuid::nil()), |it| it.identity.delivery_id(self.subscription, generation))
    }

    /// The bytes that were accepted are those of its first hop: nobody else has them.
    pub(crate) fn look_up(&mut self, hops: &[Hopped]) {
        let delivery = self.delivery();
        let first = hops.iter().find(|hop| hop.delivery == delivery && hop.is_first());
        if let (Some(hop), Some(content)) = (first, self.event.content.as_mut()) {
            content.payload = hop.payload;
        }
    }
}
