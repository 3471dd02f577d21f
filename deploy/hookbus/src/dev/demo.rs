//! The demo objects of `hookbus dev`: one application with the documentation's id, one event type, one subscription.

use anyhow::{Context, Result};
use http::Method;
use serde_json::{Value, json};

use crate::management::{Ask, Management, path};

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
pub(crate) async fn ensure(management: &Management, organization: &str, receiver_url: &str) -> Result<Demo> {
    let what = "the demo application";
    if management.find(what, &path("/applications/{}", [APPLICATION])).await?.is_none() {
        let body = json!({ "organization_id": organization, "name": "Demo", "application_id": APPLICATION });
        management.ask(what, Ask::send(Method::POST, "/applications", &body)).await?;
    }
    let body = json!({ "application_id": APPLICATION, "name": EVENT_TYPE });
    management.ask("the demo event type", Ask::send(Method::POST, "/event_types", &body)).await?;
    let subscription = subscription(management, receiver_url).await?;
    let secrets = path("/application_secrets?application_id={}", [APPLICATION]);
    let secrets = management.list("the demo secrets", &secrets).await?;
    let application_secret = secrets
        .iter()
        .find_map(|secret| secret["token"].as_str())
        .context("the demo application has no secret; create one or remove the development folder")?;
    let signing_secret = text(&subscription, "secret")?;
    Ok(Demo { application_secret: application_secret.to_owned(), signing_secret })
}

async fn subscription(management: &Management, receiver_url: &str) -> Result<Value> {
    let what = "the demo subscription";
    let body = json!({
        "application_id": APPLICATION,
        "uid": SUBSCRIPTION_UID,
        "is_enabled": true,
        "event_types": [EVENT_TYPE],
        "description": "The receiver of hookbus dev",
        "labels": {},
        "target": { "type": "http", "method": "POST", "url": receiver_url, "headers": {} },
    });
    let one = path("/subscriptions/{}?application_id={}", [SUBSCRIPTION_UID, APPLICATION]);
    let Some(found) = management.find(what, &one).await? else {
        return Ok(management.ask(what, Ask::send(Method::POST, "/subscriptions", &body)).await?.value);
    };
    if found.value["target"]["url"] == receiver_url {
        return Ok(found.value);
    }
    // The receiver's port was taken this time: the subscription follows it.
    Ok(management.ask(what, Ask::send(Method::PUT, one, &body)).await?.value)
}

fn text(object: &Value, field: &str) -> Result<String> {
    object[field].as_str().map(str::to_owned).with_context(|| format!("the answer has no `{field}`: {object}"))
}
