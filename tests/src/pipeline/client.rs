//! A client of the gateways, and the events it sends.

use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use schemas::event::{EventHeaders, StringMap};
use schemas::identity::{EventIdentity, gateway_source};
use schemas::record::OutRecord;
use serde_json::json;

use super::{Application, ToldLog, payload};
use crate::endpoint::seen::body_hash;
use crate::http::{Answer, Http};
use crate::ledger::books::Told;

/// An event to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// Its payload: JSON text, kept as it is.
    pub payload: String,
    /// Its labels.
    pub labels: StringMap,
    /// Its ordering key; its id, if it has none.
    pub ordering_key: Option<String>,
}

/// Sends events and remembers what it was told. Clones share both.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    gateways: Vec<String>,
    told: ToldLog,
}

// === impl Event ===

impl Event {
    /// An event with a payload of the mix: of 20 bytes mostly, and sometimes of the largest that is allowed.
    #[must_use]
    pub fn new(id: impl Into<String>, event_type: &str) -> Self {
        let id = id.into();
        let payload = payload::of_mix(&id);
        Self { id, event_type: event_type.to_owned(), payload, labels: StringMap::new(), ordering_key: None }
    }

    /// With one more label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With an ordering key.
    #[must_use]
    pub fn in_order(mut self, key: &str) -> Self {
        self.ordering_key = Some(key.to_owned());
        self
    }

    /// With a payload of so many bytes (20 at least).
    #[must_use]
    pub fn sized(mut self, bytes: usize) -> Self {
        self.payload = payload::of_size(&self.id, bytes);
        self
    }

    /// With this payload.
    #[must_use]
    pub fn payload(mut self, json: impl Into<String>) -> Self {
        self.payload = json.into();
        self
    }

    /// As an object of the gateway's API. The payload stands in it as it is.
    #[must_use]
    pub fn body(&self, application: &Application) -> String {
        let key = self.ordering_key.as_ref().map(|key| format!(r#""ordering_key":{},"#, json!(key)));
        format!(
            r#"{{"application_id":"{}","event_type":{},"event_id":{},{}"labels":{},"payload":{}}}"#,
            application.id,
            json!(self.event_type),
            json!(self.id),
            key.unwrap_or_default(),
            json!(self.labels),
            self.payload
        )
    }

    /// As a record of the events topic, as the gateway would write it.
    #[must_use]
    pub fn record(&self, application: &Application, topic: &Arc<str>) -> OutRecord {
        let application_id = application.id.to_string();
        let headers = EventHeaders {
            id: &self.id,
            is_id_made: false,
            event_type: &self.event_type,
            source: &gateway_source(application.id),
            time: "2026-01-01T00:00:00Z",
            content_type: "application/json",
            application: &application_id,
            labels: Some(&self.labels),
            metadata: None,
            ip: None,
        };
        OutRecord {
            topic: Arc::clone(topic),
            partition: None,
            key: Some(Bytes::from(self.ordering_key.as_ref().unwrap_or(&self.id).clone())),
            value: Some(Bytes::from(self.payload.clone())),
            headers: headers.encode().expect("a map of strings is JSON"),
        }
    }

    /// What the ledger remembers when it was accepted.
    #[must_use]
    pub fn told(&self, application: &Application) -> Told {
        let identity =
            EventIdentity { application: application.id, source: gateway_source(application.id), id: self.id.clone() };
        Told { identity, payload: body_hash(self.payload.as_bytes()) }
    }
}

// === impl Client ===

impl Client {
    pub(super) const fn new(http: Http, gateways: Vec<String>, told: ToldLog) -> Self {
        Self { http, gateways, told }
    }

    /// How many gateways it knows.
    #[must_use]
    pub const fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// Sends an event to a gateway (from 1) and remembers a 201.
    ///
    /// # Errors
    /// No answer.
    pub async fn send(&self, gateway: usize, application: &Application, event: &Event) -> anyhow::Result<Answer> {
        let answer = self.post(gateway, "/api/v1/event", &application.token, event.body(application).into()).await?;
        if answer.status.as_u16() == 201 {
            self.remember(application, event);
        }
        Ok(answer)
    }

    /// Sends events as one batch to a gateway and remembers those that were accepted. Returns the results.
    ///
    /// # Errors
    /// No answer, or not a list of results.
    pub async fn send_batch(
        &self,
        gateway: usize,
        application: &Application,
        events: &[Event],
    ) -> anyhow::Result<Vec<serde_json::Value>> {
        let bodies: Vec<String> = events.iter().map(|event| event.body(application)).collect();
        let body = format!(r#"{{"events":[{}]}}"#, bodies.join(","));
        let answer = self.post(gateway, "/api/v1/events:batch", &application.token, body.into()).await?;
        let json = answer.json()?;
        let list = json.as_array().or_else(|| json["results"].as_array()).or_else(|| json["events"].as_array());
        let results = list.with_context(|| format!("{} {json}", answer.status))?.clone();
        for (event, result) in events.iter().zip(&results) {
            if result.get("received_at").is_some() {
                self.remember(application, event);
            }
        }
        Ok(results)
    }

    /// Remembers that an event counts as accepted: after a 409 on a repeat, for one.
    pub fn remember(&self, application: &Application, event: &Event) {
        self.told.lock().push(event.told(application));
    }

    /// Any JSON body to any path of a gateway (from 1).
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, gateway: usize, path: &str, token: &str, body: Bytes) -> anyhow::Result<Answer> {
        let request = Request::post(self.url(gateway, path)?)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Full::from(body))?;
        self.http.send(request).await
    }

    /// The URL of a path at a gateway (from 1).
    ///
    /// # Errors
    /// There is no such gateway.
    pub fn url(&self, gateway: usize, path: &str) -> anyhow::Result<String> {
        let base = self.gateways.get(gateway - 1).with_context(|| format!("no gateway {gateway}"))?;
        Ok(format!("{base}{path}"))
    }
}
