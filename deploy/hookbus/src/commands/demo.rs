//! `hookbus demo`: what a customer would run, beside an installation that runs already. It makes an application with one subscription to
//! itself, sends an event, and says of every request that comes whether its signatures are right.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chassis::config::Config;
use chassis::shutdown::Shutdown;
use chassis::tasks;
use http::Method;
use secrecy::ExposeSecret;
use serde_json::json;
use signing::{Secret, Verifier};
use tokio::net::TcpListener;

use crate::cli::operate::DemoArgs;
use crate::dev::demo::{self, APPLICATION, Demo};
use crate::dev::receiver;
use crate::management::{Ask, Management, Trust};
use crate::screen;

/// Runs until it is told to end.
///
/// # Errors
/// There is no admin key, the installation does not answer or refuses, or the address is taken.
pub(crate) async fn run(config: &Config, args: &DemoArgs) -> Result<()> {
    let shutdown = Shutdown::on_signals(Duration::ZERO).context("signals cannot be handled")?;
    let key = config.control.admin_keys.first();
    let key = key.ok_or_else(|| crate::usage("give the operator's key: control.admin_key, or a file of it"))?;
    let trust = Trust { ca: None, insecure: args.insecure };
    let management = Management::new(&args.server, key.expose_secret(), &trust)?;
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {} (--listen)", args.listen))?;
    let demo = demo::ensure(&management, &config.control.organization_id.to_string(), &args.url).await?;
    let verifier = Arc::new(Verifier::new(&Secret::parse(&demo.signing_secret)?));
    let receiving = tasks::spawn("demo receiver", receiver::run(listener, verifier, shutdown));
    send(&Management::new(&args.server, &demo.application_secret, &trust)?).await?;
    tell(&args.server, &demo)?;
    receiving.await.context("the demo receiver ended before its time")?
}

async fn send(gateway: &Management) -> Result<()> {
    let event = format!("demo-{}", vault::random_uuid()?);
    let body = json!({
        "application_id": APPLICATION,
        "event_type": "invoice.paid",
        "event_id": event,
        "payload": { "invoice": "in_1042", "amount": 12900, "currency": "EUR" },
        "labels": { "environment": "demo" },
    });
    gateway.ask("the demo event", Ask::send(Method::POST, "/event", &body)).await?;
    Ok(screen::progress(&format!("sent       {event}"))?)
}

fn tell(server: &str, demo: &Demo) -> Result<()> {
    let token = &demo.application_secret;
    Ok(screen::progress(&format!(
        "send more: curl -i {server}/api/v1/event -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
         -d '{{\"application_id\": \"{APPLICATION}\", \"event_type\": \"invoice.paid\", \"payload\": {{}}, \"labels\": {{\"environment\": \"demo\"}}}}'"
    ))?)
}
