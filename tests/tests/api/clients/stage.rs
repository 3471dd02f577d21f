//! What a client finds: an application that holds what Hook0 does not know, one with limits, tokens, an endpoint.

use anyhow::{Context, ensure};
use http::Method;
use serde_json::{Value, json};
use testkit::Endpoint;
use testkit::dev::Dev;
use testkit::supervisor::Settings;

/// A `hookbus dev` with everything a client is told of.
pub(super) struct Stage {
    pub(super) endpoint: Endpoint,
    /// The first line a client reads.
    pub(super) setup: Value,
    dev: Dev,
    /// The subscriptions of the mixed application, as they were made.
    made: Vec<Value>,
}

impl Stage {
    pub(super) async fn start(client: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::start()?;
        let dev = Dev::start(&format!("client-{client}"), Settings::default()).await?;
        let organization = dev.info("organization_id")?.to_owned();
        let token = json!({ "organization_id": organization, "name": "editor of the test" });
        let editor = dev.managed(Method::POST, "/service_token", Some(&token)).await?;
        let mixed = application(&dev, json!({ "organization_id": organization, "name": "mixed" })).await?;
        let made = mixed_up(&dev, &mixed.0, &endpoint).await?;
        let receiving = subscription(&mixed.0, &endpoint, &format!("/{client}/events"));
        let receiving = json!({ "description": "receiving", "event_types": ["billing.invoice.paid"], "labels": { "tenant": "acme" } })
            .merged_over(receiving);
        let receiving = dev.managed(Method::POST, "/subscriptions", Some(&receiving)).await?;
        let limits = json!({ "subscriptions": 1, "events_per_second": 1 });
        let limited = json!({ "organization_id": organization, "name": "limited", "limits": limits });
        let limited = application(&dev, limited).await?;
        let only = json!({ "event_types": ["billing.invoice.paid"] });
        let only = only.merged_over(subscription(&limited.0, &endpoint, "/limited"));
        dev.managed(Method::POST, "/subscriptions", Some(&only)).await?;
        let setup = json!({
            "base": dev.base()?,
            "organization_id": organization,
            "editor": editor["biscuit"],
            "application_id": mixed.0,
            "secret": mixed.1,
            "subscription_secret": receiving["secret"],
            "limited": { "application_id": limited.0, "secret": limited.1 },
            "endpoint": endpoint.url(&format!("/{client}")),
            "path": format!("/{client}"),
        });
        Ok(Self { endpoint, setup, dev, made })
    }

    /// What a client does not know survives what a client edits.
    pub(super) async fn is_as_it_was(&self) -> anyhow::Result<()> {
        for made in &self.made {
            let path = format!("/subscriptions/{}", made["subscription_id"].as_str().context("an id")?);
            let mut now = self.dev.managed(Method::GET, &path, None).await?;
            now["updated_at"] = made["updated_at"].clone();
            ensure!(now == *made, "was {made}\n is {now}");
        }
        Ok(())
    }

    pub(super) fn log_tail(&self) -> String {
        self.dev.log_tail()
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.dev.stop().await
    }
}

/// An application, its secret, and the event types every client uses.
async fn application(dev: &Dev, body: Value) -> anyhow::Result<(String, String)> {
    let made = dev.managed(Method::POST, "/applications", Some(&body)).await?;
    let id = made["application_id"].as_str().context("an id")?.to_owned();
    let secrets = dev.managed(Method::GET, &format!("/application_secrets?application_id={id}"), None).await?;
    let secret = secrets[0]["token"].as_str().context("a token")?.to_owned();
    for name in ["invoice.paid", "billing.invoice.paid", "billing.invoice.paid.v2"] {
        let body = json!({ "application_id": id, "name": name });
        dev.managed(Method::POST, "/event_types", Some(&body)).await?;
    }
    Ok((id, secret))
}

/// What has broken a client's decoding when it was tried, each in a subscription.
async fn mixed_up(dev: &Dev, application: &str, endpoint: &Endpoint) -> anyhow::Result<Vec<Value>> {
    let base = subscription(application, endpoint, "/mixed");
    let target =
        |headers: Value| json!({ "type": "http", "method": "POST", "url": endpoint.url("/mixed"), "headers": headers });
    let mut masked = target(json!({ "Authorization": "Bearer of-the-receiver" }));
    masked["secret_headers"] = json!(["Authorization"]);
    let odd = [
        json!({ "description": "filtered", "filter": "type == \"invoice.paid\"" }),
        json!({ "description": "label-less", "labels": {} }),
        json!({ "description": "patterns", "event_types": ["invoice.*", "billing.**"], "labels": { "a": "b", "c": "d" } }),
        json!({ "description": "imported", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }),
        json!({ "description": "scheduled", "retry": [1_000, 60_000], "timeout_ms": 5_000, "concurrency": 4 }),
        json!({ "description": "enveloped", "body": "envelope", "signing": ["standard", "hook0", "ed25519"] }),
        json!({ "description": "masked", "target": masked }),
        json!({ "description": "authenticated", "auth": { "type": "basic", "username": "u", "password": "p" } }),
        json!({ "description": "disabled", "is_enabled": false, "uid": "the-disabled-one" }),
        json!({ "description": "paused" }),
    ];
    let mut made = Vec::new();
    for fields in odd {
        let body = fields.merged_over(base.clone());
        made.push(dev.managed(Method::POST, "/subscriptions", Some(&body)).await?);
    }
    let paused = made.pop().context("the paused one")?;
    let path = format!("/subscriptions/{}/pause", paused["subscription_id"].as_str().context("an id")?);
    made.push(dev.managed(Method::POST, &path, None).await?);
    Ok(made)
}

fn subscription(application: &str, endpoint: &Endpoint, path: &str) -> Value {
    json!({
        "application_id": application,
        "is_enabled": true,
        "event_types": ["invoice.paid"],
        "labels": { "environment": "production" },
        "target": { "type": "http", "method": "POST", "url": endpoint.url(path), "headers": { "X-Tenant": "acme" } },
    })
}

/// Fields laid over an object.
trait Merge {
    fn merged_over(self, under: Value) -> Value;
}

impl Merge for Value {
    fn merged_over(self, mut under: Value) -> Value {
        if let (Some(under), Self::Object(fields)) = (under.as_object_mut(), self) {
            under.extend(fields);
        }
        under
    }
}
