//! Events, the repeat that is refused, and the verification of what was delivered.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hook0_client::generated::{EventPost, EventsApi, ProblemId, SubscriptionsApi};
use hook0_client::{Event, Hook0Client, Hook0ClientError, verify_webhook_signature};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::operations::{Tenant, subscription};
use crate::setup::{Setup, delivery, done, refused};

const TYPE: &str = "billing.invoice.paid";
const TOLERANCE: Duration = Duration::from_secs(300);

/// All of it.
pub async fn check(setup: &Setup, tenant: &Tenant) -> Result<()> {
    let mut post = subscription(tenant.id, &format!("{}/events", setup.endpoint), &[TYPE])?;
    post.labels = Some([("tenant".to_owned(), "acme".to_owned())].into());
    let secret = SubscriptionsApi::new(setup.with(&tenant.secret)).create(post).await?.secret.to_string();
    let client = Hook0Client::new(setup.base.parse()?, tenant.id, &tenant.secret)?;
    let path = format!("{}/events", setup.path);

    let generated = client.send_event(&event(None, r#"{"made": "without"}"#)).await?;
    arrived(&path, generated, &secret, r#"{"made": "without"}"#)?;
    done("send_event without id")?;
    let given = Uuid::now_v7();
    ensure!(client.send_event(&event(Some(&given), r#"{"made": "with"}"#)).await? == given);
    arrived(&path, given, &secret, r#"{"made": "with"}"#)?;
    done("send_event with id")?;
    done("verify_webhook_signature")?;
    match client.send_event(&event(Some(&given), r#"{"made": "with"}"#)).await {
        Err(Hook0ClientError::EventSending { body: Some(body), .. }) if body.contains("EventAlreadyIngested") => {}
        other => bail!("a repeat has to be refused: {other:?}"),
    }
    done("send_event repeated")?;

    let events = EventsApi::new(setup.with(&tenant.secret));
    let ingested = events.ingest(ingest(tenant.id, Some(Uuid::now_v7()))?).await?;
    ensure!(events.ingest(ingest(tenant.id, None)?).await?.event_id.get_version_num() == 7);
    done("events.ingest")?;
    let again = events.ingest(ingest(tenant.id, Some(ingested.event_id))?).await;
    refused(again, ProblemId::EventAlreadyIngested, 409)?;
    done("409 EventAlreadyIngested")
}

/// An event as the hand-written half sends it.
pub fn event<'a>(event_id: Option<&'a Uuid>, payload: &'a str) -> Event<'a> {
    Event {
        event_id,
        event_type: TYPE,
        payload: payload.into(),
        payload_content_type: "application/json",
        metadata: None,
        occurred_at: None,
        labels: vec![("tenant".to_owned(), "acme".to_owned())],
    }
}

/// An event as the generated half sends it.
pub fn ingest(application: Uuid, event_id: Option<Uuid>) -> Result<EventPost> {
    Ok(serde_json::from_value(json!({
        "application_id": application,
        "event_id": event_id,
        "event_type": TYPE,
        "labels": { "tenant": "acme" },
        "occurred_at": chrono::Utc::now(),
        "payload": "plain text",
        "payload_content_type": "text/plain",
        "metadata": { "sent_by": "main.rs" },
    }))?)
}

/// A receiver that verifies with the client takes what came, and nothing else.
fn arrived(path: &str, event: Uuid, secret: &str, payload: &str) -> Result<()> {
    let seen = delivery(path, event)?;
    let body = STANDARD.decode(seen["body"].as_str().context("a body")?)?;
    let headers: Vec<(String, String)> = serde_json::from_value(seen["headers"].clone())?;
    let signature = headers.iter().find(|(name, _)| name == "x-hook0-signature").context("a signature")?.1.clone();
    ensure!(body == payload.as_bytes(), "{:?}", Value::from(String::from_utf8_lossy(&body)));
    verify_webhook_signature(&signature, &body, &headers, secret, TOLERANCE)?;
    let changed = [&body[..], b" "].concat();
    ensure!(verify_webhook_signature(&signature, &changed, &headers, secret, TOLERANCE).is_err());
    ensure!(verify_webhook_signature(&signature, &body, &headers, "another secret", TOLERANCE).is_err());
    Ok(())
}
