//! What a tenant sets up through the management API, remembered for the ledger.

use anyhow::{Context, ensure};
use http::Method;
use kafka::clock::now_ms;
use schemas::event::StringMap;
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use serde_json::{Value, json};

use super::setup::ADMIN_KEY;
use super::{Pipeline, Role};
use crate::http::Answer;
use crate::ledger::books::Subscribed;
use crate::ledger::pings::Pinged;

/// An application with a token of its own.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// Its secret.
    pub token: String,
}

/// A subscription as the test made it.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Its path at the endpoint.
    pub path: String,
}

impl Pipeline {
    /// One call of the management API with the admin key, to this control plane (from 1).
    ///
    /// # Errors
    /// No answer.
    pub async fn manage(
        &self,
        control: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let urls = self.roles.urls(Role::Control);
        let url = urls.get(control - 1).context("no such control plane")?;
        self.http.json(method, &format!("{url}/api/v1{path}"), ADMIN_KEY, body).await
    }

    /// One that must succeed with this status.
    ///
    /// # Errors
    /// It does not; with the problem.
    pub async fn managed(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        status: u16,
    ) -> anyhow::Result<Value> {
        let answer = self.manage(1, method.clone(), path, body).await?;
        ensure!(answer.status.as_u16() == status, "{method} {path}: {} {:?}", answer.status, answer.body);
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    /// Makes an application that declares these event types.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn application(&mut self, event_types: &[&str]) -> anyhow::Result<Application> {
        self.application_with(json!({}), event_types).await
    }

    /// The same with more fields: an id, a uid.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn application_with(&mut self, fields: Value, event_types: &[&str]) -> anyhow::Result<Application> {
        let mut body = json!({ "organization_id": self.organization, "name": "test" });
        merge(&mut body, fields);
        let made = self.managed(Method::POST, "/applications", Some(&body), 201).await?;
        let id: ApplicationId = text(&made, "application_id")?.parse()?;
        self.applications.insert(id.to_string(), id);
        if let Some(uid) = body.get("uid").and_then(Value::as_str) {
            self.applications.insert(uid.to_owned(), id);
        }
        let secret = json!({ "application_id": id, "name": "tests" });
        let secret = self.managed(Method::POST, "/application_secrets", Some(&secret), 201).await?;
        for event_type in event_types {
            let body = json!({ "application_id": id, "name": event_type });
            self.managed(Method::POST, "/event_types", Some(&body), 201).await?;
        }
        Ok(Application { id, token: text(&secret, "token")?.to_owned() })
    }

    /// Makes a subscription to these event types or patterns, at a path of its own; `fields` are added or replaced.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn subscribe(
        &mut self,
        application: &Application,
        event_types: &[&str],
        fields: Value,
    ) -> anyhow::Result<Subscription> {
        let path = format!("/s/{}", self.subscriptions.len() + 1);
        let mut body = json!({
            "application_id": application.id,
            "is_enabled": true,
            "event_types": event_types,
            "labels": {},
            "target": { "type": "http", "method": "POST", "url": self.endpoint.url(&path), "headers": {} },
        });
        merge(&mut body, fields);
        let made = self.managed(Method::POST, "/subscriptions", Some(&body), 201).await?;
        let created_ms = now_ms();
        let id: SubscriptionId = text(&made, "subscription_id")?.parse()?;
        // Hook0 verifiers use the secret's text, Standard Webhooks ones the bytes of `whsec_`: a UUID is both.
        self.endpoint.expect_secret(&path, text(&made, "secret")?)?;
        let labels: StringMap = serde_json::from_value(body["labels"].clone())?;
        let patterns: Result<Vec<_>, _> = event_types.iter().map(|pattern| EventTypePattern::parse(pattern)).collect();
        let concurrency = body.get("concurrency").and_then(Value::as_u64).and_then(|cap| usize::try_from(cap).ok());
        self.subscriptions.push(Subscribed {
            id,
            application: application.id,
            patterns: patterns?,
            labels,
            only: None,
            path: path.clone(),
            former_paths: Vec::new(),
            concurrency: concurrency.unwrap_or(self.config.delivery.lane_concurrency),
            per_second: body.get("rate_per_second").and_then(Value::as_f64),
            created_ms,
            ended_ms: None,
            enabled_again_ms: None,
        });
        Ok(Subscription { id, path })
    }

    /// Pings a subscription: the ledger expects one more delivery.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn ping(&mut self, application: &Application, subscription: &Subscription) -> anyhow::Result<DeliveryId> {
        let path = format!("/subscriptions/{}/ping?application_id={}", subscription.id, application.id);
        let made = self.managed(Method::POST, &path, None, 202).await?;
        let ping = Pinged::new(text(&made, "event_id")?.parse()?, application.id, subscription.id, now_ms());
        ensure!(ping.delivery().to_string() == text(&made, "delivery_id")?, "another delivery than the ping's: {made}");
        self.pings.push(ping);
        Ok(self.pings.last().context("it was just put there")?.delivery())
    }

    /// Has the retry of a delivery that holds back others now: the ledger does not expect it when it is due.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn retry_now(&mut self, subscription: &Subscription, delivery: &str) -> anyhow::Result<()> {
        let path = format!("/subscriptions/{}/retry_now", subscription.id);
        self.managed(Method::POST, &path, Some(&serde_json::json!({ "delivery_id": delivery })), 200).await?;
        self.hurried.insert(DeliveryId(delivery.parse()?));
        Ok(())
    }

    /// Asks for a job: what it sends again is expected.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn job(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let job = self.managed(Method::POST, path, Some(body), 202).await?;
        self.jobs.insert(text(&job, "job_id")?.parse()?);
        Ok(job)
    }

    /// Sends an event again. Returns the job that does it.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn replay(&mut self, event: &str, body: &Value) -> anyhow::Result<String> {
        let path = format!("/events/{event}/replay");
        let answer = self.manage(1, Method::POST, &path, Some(body)).await?;
        ensure!(answer.status.as_u16() == 204, "{path}: {} {:?}", answer.status, answer.body);
        let id = answer.headers.get("hookbus-replay-id").context("no replay id")?.to_str()?.to_owned();
        self.jobs.insert(id.parse()?);
        Ok(id)
    }

    /// Tells the ledger which events (by id) a subscription's filter lets through: it judges without reading filters.
    ///
    /// # Errors
    /// It is none of this test's.
    pub fn lets_through(&mut self, subscription: &Subscription, ids: &[&str]) -> anyhow::Result<()> {
        let known = self.subscriptions.iter_mut().find(|known| known.id == subscription.id);
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        known.context("a subscription of this test")?.only = Some(ids);
        Ok(())
    }

    /// Deletes a subscription.
    ///
    /// # Errors
    /// The management API refuses.
    pub async fn unsubscribe(&mut self, application: &Application, subscription: &Subscription) -> anyhow::Result<()> {
        let asked_ms = now_ms();
        let path = format!("/subscriptions/{}?application_id={}", subscription.id, application.id);
        self.managed(Method::DELETE, &path, None, 204).await?;
        let ended = self.subscriptions.iter_mut().find(|known| known.id == subscription.id);
        ended.context("a subscription of this test")?.ended_ms = Some((asked_ms, now_ms()));
        Ok(())
    }
}

fn merge(body: &mut Value, fields: Value) {
    if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
        body.extend(fields);
    }
}

fn text<'a>(object: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    object[field].as_str().with_context(|| format!("no {field} in {object}"))
}
