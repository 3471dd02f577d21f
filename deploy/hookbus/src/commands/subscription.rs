//! `hookbus subscription`.

use std::collections::BTreeMap;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use crate::cli::manage::Output;
use crate::cli::subscription::{CreateArgs, Fields, One, SubscriptionArgs, SubscriptionCommand, UpdateArgs};
use crate::management::{self, Ask, Management, path};
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[
    ("id", "subscription_id"),
    ("uid", "uid"),
    ("enabled", "is_enabled"),
    ("paused", "is_paused"),
    ("event types", "event_types"),
    ("url", "target.url"),
];
const ONE: &[Column] = &[
    ("id", "subscription_id"),
    ("uid", "uid"),
    ("application", "application_id"),
    ("description", "description"),
    ("enabled", "is_enabled"),
    ("disabled because", "disabled_reason"),
    ("paused", "is_paused"),
    ("event types", "event_types"),
    ("labels", "labels"),
    ("filter", "filter"),
    ("method", "target.method"),
    ("url", "target.url"),
    ("headers", "target.headers"),
    ("signing", "signing"),
    ("secret", "secret"),
    ("signing secret", "signing_secret"),
    ("public key", "signing_public_key"),
    ("body", "body"),
    ("retry", "retry"),
    ("timeout ms", "timeout_ms"),
    ("concurrency", "concurrency"),
    ("rate per second", "rate_per_second"),
    ("metadata", "metadata"),
    ("created", "created_at"),
    ("updated", "updated_at"),
];

const HEALTH: &[Column] = &[
    ("id", "subscription_id"),
    ("application", "application_id"),
    ("enabled", "is_enabled"),
    ("disabled because", "disabled_reason"),
    ("paused", "is_paused"),
    ("circuit", "circuit"),
    ("next probe", "circuit_until"),
    ("held until", "held_until"),
    ("failing since", "failing_since"),
    ("last success", "last_success_at"),
    ("last failure", "last_failure_at"),
    ("last error", "last_error"),
    ("dead letters", "dead_letters_open"),
    ("in flight", "in_flight"),
    ("in flight at most", "lane_window"),
    ("waiting", "waiting"),
    ("in its list", "queued"),
    ("holds back", "held_deliveries"),
    ("oldest waiting", "oldest_waiting_at"),
    ("waits for ms", "backlog_age_ms"),
    ("counted from", "window.from"),
    ("attempts", "window.attempts"),
    ("success rate", "window.success_rate"),
    ("retry rate", "window.retry_rate"),
    ("p50 ms", "window.latency_p50_ms"),
    ("p95 ms", "window.latency_p95_ms"),
    ("as of", "as_of"),
];
/// What is unknown as a number is shown as such, and not left out.
const MAY_BE_UNKNOWN: [&str; 4] = ["in_flight", "waiting", "queued", "as_of"];

/// Lists, shows, makes or changes.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &SubscriptionArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    let shown = match &args.command {
        SubscriptionCommand::List { of } => {
            let application = management.application(of.application.as_deref()).await?;
            let list = path("/subscriptions?application_id={}", [&application]);
            return output::list(output, &management.list("subscriptions", &list).await?, COLUMNS);
        }
        SubscriptionCommand::Delete(one) => {
            let answer = management.remove(&what(one), &place(&management, one, "").await?).await?;
            return output::done(output, &format!("subscription {} is deleted", one.subscription), &answer);
        }
        SubscriptionCommand::Ping(one) => {
            let answer = post(&management, one, "/ping", &json!({})).await?;
            return output::done(
                output,
                &format!("a test event is on its way to subscription {}", one.subscription),
                &answer,
            );
        }
        SubscriptionCommand::Skip { one, delivery } => {
            let answer = post(&management, one, "/skip", &json!({ "delivery_id": delivery })).await?;
            return output::done(output, &format!("delivery {delivery} is skipped, those behind it go on"), &answer);
        }
        SubscriptionCommand::RetryNow { one, delivery } => {
            let answer = post(&management, one, "/retry_now", &json!({ "delivery_id": delivery })).await?;
            return output::done(output, &format!("delivery {delivery} is attempted now"), &answer);
        }
        SubscriptionCommand::Health(one) => {
            let read = Ask::get(place(&management, one, "/health").await?);
            let answer = management.ask(&what(one), read).await?.value;
            return output::one(output, &told(output, answer), HEALTH);
        }
        SubscriptionCommand::Get(one) => {
            let read = Ask::get(place(&management, one, "").await?);
            management.ask(&what(one), read).await?.value
        }
        SubscriptionCommand::Create(create) => make(&management, create).await?,
        SubscriptionCommand::Update(update) => change(&management, &update.one, &changes(update)).await?,
        SubscriptionCommand::Enable(one) => change(&management, one, &json!({ "is_enabled": true })).await?,
        SubscriptionCommand::Disable(one) => change(&management, one, &json!({ "is_enabled": false })).await?,
        SubscriptionCommand::Pause(one) => post(&management, one, "/pause", &json!({})).await?,
        SubscriptionCommand::Resume(one) => post(&management, one, "/resume", &json!({})).await?,
        SubscriptionCommand::RotateSecret { one, secret_env, overlap_seconds } => {
            let mut body = json!({});
            if let Some(name) = secret_env {
                let secret = crate::variables(name);
                let secret =
                    secret.ok_or_else(|| crate::usage(format!("the environment variable {name} is not set")))?;
                body["secret"] = json!(secret);
            }
            if let Some(overlap_seconds) = overlap_seconds {
                body["overlap_ms"] = json!(overlap_seconds.saturating_mul(1_000));
            }
            post(&management, one, "/rotate_secret", &body).await?
        }
    };
    output::one(output, &shown, ONE)
}

/// For people a number that is not known says so; programs get the answer as it is.
fn told(output: Output, mut health: Value) -> Value {
    if output == Output::Table {
        for name in MAY_BE_UNKNOWN {
            if health[name].is_null() {
                health[name] = json!("unknown");
            }
        }
    }
    health
}

async fn make(management: &Management, args: &CreateArgs) -> Result<Value> {
    let mut body = json!({
        "application_id": management.application(args.of.application.as_deref()).await?,
        "is_enabled": !args.disabled,
        "event_types": args.event_types,
        "target": { "type": "http", "method": "POST", "url": args.target, "headers": {} },
    });
    if let Some(uid) = &args.uid {
        body["uid"] = json!(uid);
    }
    if args.paused {
        body["is_paused"] = json!(true);
    }
    lay_over(&mut body, &args.fields);
    let ask = Ask::send(Method::POST, "/subscriptions", &body);
    Ok(management.ask(&format!("subscription to {}", args.target), ask).await?.value)
}

fn changes(args: &UpdateArgs) -> Value {
    let mut body = json!({});
    if let Some(target) = &args.target {
        body["target"] = json!({ "url": target });
    }
    if !args.event_types.is_empty() {
        body["event_types"] = json!(args.event_types);
    }
    lay_over(&mut body, &args.fields);
    body
}

fn lay_over(body: &mut Value, fields: &Fields) {
    if !fields.labels.is_empty() {
        body["labels"] = json!(fields.labels.iter().cloned().collect::<BTreeMap<String, String>>());
    }
    let given = [
        ("description", json!(fields.description)),
        ("filter", json!(fields.filter)),
        ("retry", json!(fields.retry)),
        ("timeout_ms", json!(fields.timeout_ms)),
        ("concurrency", json!(fields.concurrency)),
    ];
    for (name, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
        body[name] = value;
    }
}

async fn change(management: &Management, one: &One, body: &Value) -> Result<Value> {
    let ask = Ask::send(Method::PATCH, place(management, one, "").await?, body);
    Ok(management.ask(&what(one), ask).await?.value)
}

async fn post(management: &Management, one: &One, action: &str, body: &Value) -> Result<Value> {
    let ask = Ask::send(Method::POST, place(management, one, action).await?, body);
    Ok(management.ask(&what(one), ask).await?.value)
}

/// Its path. An id needs no application; a uid is one inside its application.
async fn place(management: &Management, one: &One, action: &str) -> Result<String> {
    let id = &one.subscription;
    let known = uuid::Uuid::parse_str(id).is_ok();
    if known && one.of.application.is_none() {
        return Ok(path(&format!("/subscriptions/{{}}{action}"), [id]));
    }
    let application = management.application(one.of.application.as_deref()).await?;
    Ok(path(&format!("/subscriptions/{{}}{action}?application_id={{}}"), [id, &application]))
}

/// What a refusal is about.
fn what(one: &One) -> String {
    let id = &one.subscription;
    match &one.of.application {
        Some(application) => format!("subscription {id} of {application}"),
        None if uuid::Uuid::parse_str(id).is_ok() => format!("subscription {id}"),
        // A uid is one inside its application, and another may be meant than the only one or the demo's.
        None => format!("subscription {id}, without --application"),
    }
}
