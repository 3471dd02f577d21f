//! The demo objects of `hookbus dev`: one application with the documentation's id, one event type, one subscription.

use anyhow::{Context, Result};
use http::Method;
use serde_json::{Value, json};

use crate::dev::api::Api;

/// The application of every example in the documentation.
pub(crate) const APPLICATION: &str = "c0ea6ffa-1972-4435-b434-ec9e93d38f42";
const EVENT_TYPE: &str = "invoice.paid";
const SUBSCRIPTION_UID: &str = "demo";

/// What the demo needs to know of its objects.
#[derive(Debug)]
pub(crate) struct Demo {
    /// Token of the application.
    pub(crate) application_secret: String,
    /// Signing secret of the subscription.
    pub(crate) signing_secret: String,
}

/// Creates what is missing and points the subscription at the receiver.
///
/// # Errors
/// When the management API refuses or cannot be reached.
pub(crate) async fn ensure(api: &Api, organization: &str, receiver_url: &str) -> Result<Demo> {
    if api.get(&format!("/applications/{APPLICATION}")).await?.is_none() {
        let body = json!({ "organization_id": organization, "name": "Demo", "application_id": APPLICATION });
        api.send(Method::POST, "/applications", &body).await?;
    }
    let body = json!({ "application_id": APPLICATION, "name": EVENT_TYPE });
    api.send(Method::POST, "/event_types", &body).await?;
    let subscription = subscription(api, receiver_url).await?;
    let secrets = api.get(&format!("/application_secrets?application_id={APPLICATION}")).await?;
    let application_secret = secrets
        .as_ref()
        .and_then(Value::as_array)
        .and_then(|secrets| secrets.iter().find(|secret| secret["deleted_at"].is_null()))
        .and_then(|secret| secret["token"].as_str())
        .context("the demo application has no secret; create one or remove the development folder")?;
    let signing_secret = text(&subscription, "secret")?;
    Ok(Demo { application_secret: application_secret.to_owned(), signing_secret })
}

async fn subscription(api: &Api, receiver_url: &str) -> Result<Value> {
    let body = json!({
        "application_id": APPLICATION,
        "uid": SUBSCRIPTION_UID,
        "is_enabled": true,
        "event_types": [EVENT_TYPE],
        "description": "The receiver of hookbus dev",
        "labels": {},
        "target": { "type": "http", "method": "POST", "url": receiver_url, "headers": {} },
    });
    let list = api.get(&format!("/subscriptions?application_id={APPLICATION}")).await?;
    let known = list.as_ref().and_then(Value::as_array);
    let Some(found) = known.and_then(|list| list.iter().find(|entry| entry["uid"] == SUBSCRIPTION_UID)) else {
        return api.send(Method::POST, "/subscriptions", &body).await;
    };
    if found["target"]["url"] == receiver_url {
        return Ok(found.clone());
    }
    // The receiver's port was taken this time: the subscription follows it.
    api.send(Method::PUT, &format!("/subscriptions/{}", text(found, "subscription_id")?), &body).await
}

fn text(object: &Value, field: &str) -> Result<String> {
    object[field].as_str().map(str::to_owned).with_context(|| format!("the answer has no `{field}`: {object}"))
}
