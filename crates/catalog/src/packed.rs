//! A subscription's control object, small: a process holds a million of them and looks at a few.
//!
//! It is the object's JSON, compressed against a text that has the names and the usual values in it. What the snapshot keeps
//! open beside it (ids, uid, event types, labels) is left out, and put back when the object is asked for.

use std::fmt;
use std::sync::Arc;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use schemas::control;
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, SubscriptionId};
use uuid::Uuid;

/// What the texts of subscriptions have in common. It lives in memory only: a change of it changes no stored form.
const COMMON: &[u8] = br#"{"sealed":{"kid":"","nonce":"","ct":""},"expires_ms":17"auth":{"type":"basic","username":"",
"password":{"type":"bearer","token":{"type":"oauth2","token_url":"https://","client_id":"","client_secret":"scopes":[]
{"type":"mtls","certificate":"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n","private_key":","secret_headers":
["disabled_reason":"gone","failing","disabled_detail":"","disabled_ms":17,"dedicated_workers":[,"cancel_before":,"filter":"
,"api_version":"2026-","retry":"standard","hook0","quick","timeout_ms":15000,"concurrency":10,"rate_per_second":,
"max_age_ms":,"disable_after_ms":,"headers":{"authorization":{"kid":"x-api-key":{"kid":"is_enabled":false,"is_paused":true,
"metadata":{"plan":"team":"tenant":"customer"},"signing":["ed25519"],"body":"envelope""body":"cloudevents""method":"PUT"
{"subscription_id":"00000000-0000-0000-0000-000000000000","application_id":"00000000-0000-0000-0000-000000000000",
"is_enabled":true,"is_paused":false,"event_types":[],"labels":{},"description":"Webhook of ","metadata":{},
"target":{"method":"POST","url":"https://hooks.example.com/webhooks/"},"secrets":[{"sealed":{"kid":"k1","nonce":"","ct":""}}],
"signing":["standard","hook0"],"body":"raw","created_ms":1795,"updated_ms":1795}"#;

/// The packed object.
pub(crate) struct Packed(Box<[u8]>);

/// What is kept open: looked at for every event.
#[derive(Clone, Copy)]
pub(crate) struct Open<'a> {
    pub(crate) id: SubscriptionId,
    pub(crate) application: ApplicationId,
    pub(crate) uid: Option<&'a str>,
    pub(crate) patterns: &'a [EventTypePattern],
    pub(crate) labels: &'a [(Arc<str>, Arc<str>)],
}

impl Packed {
    /// Packs everything but what is kept open.
    pub(crate) fn pack(mut object: control::Subscription) -> Result<Self, serde_json::Error> {
        object.subscription_id = SubscriptionId(Uuid::nil());
        object.application_id = ApplicationId(Uuid::nil());
        object.uid = None;
        object.event_types = Vec::new();
        object.labels = StringMap::new();
        let text = serde_json::to_vec(&object)?;
        Ok(Self(compress_prepend_size_with_dict(&text, COMMON).into_boxed_slice()))
    }

    /// The whole object again.
    pub(crate) fn unpack(&self, open: Open<'_>) -> control::Subscription {
        let text =
            decompress_size_prepended_with_dict(&self.0, COMMON).expect("packed here, with the same common text");
        let mut object: control::Subscription =
            serde_json::from_slice(&text).expect("the text is the object's own JSON form");
        object.subscription_id = open.id;
        object.application_id = open.application;
        object.uid = open.uid.map(str::to_owned);
        object.event_types = open.patterns.to_vec();
        object.labels = open.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        object
    }

    /// Bytes it takes.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.0.len())
    }
}
