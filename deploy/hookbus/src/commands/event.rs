//! `hookbus event`: sending, once or again, what became of it, and erasing it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::logged;
use crate::cli::log::EventShowArgs;
use crate::cli::manage::{EventArgs, EventCommand, Output, ReplayArgs, SendArgs};
use crate::management::{self, Ask, Management, path};
use crate::output::{self, Column};

/// More the gateway does not take anyway.
const PAYLOAD_LIMIT: u64 = 64 * 1024 * 1024;
const COLUMNS: &[Column] = &[("event", "event_id"), ("application", "application_id"), ("received", "received_at")];

/// Sends one event, once or again, lists them, shows one, or erases one.
///
/// # Errors
/// The payload is no JSON, or the gateway refuses or cannot be reached.
pub(crate) async fn run(args: &EventArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    match &args.command {
        EventCommand::Send(send) => self::send(&management, output, send).await,
        EventCommand::List(list) => logged::events(&management, output, list).await,
        EventCommand::Show(show) => logged::event(&management, output, show).await,
        EventCommand::Explain(explain) => logged::explain(&management, output, explain).await,
        EventCommand::Replay(replay) => self::replay(&management, output, replay).await,
        EventCommand::Erase(of) => erase(&management, output, of).await,
    }
}

async fn replay(management: &Management, output: Output, replay: &ReplayArgs) -> Result<()> {
    let mut body = json!({ "application_id": management.application(replay.of.application.as_deref()).await? });
    if let Some(subscription) = &replay.subscription {
        body["subscription_id"] = json!(subscription);
    }
    let asked = path("/events/{}/replay", [&replay.event]);
    let answer = management.ask(&format!("event {}", replay.event), Ask::send(Method::POST, asked, &body)).await?;
    output::done(output, &sent_again(replay, answer.job.as_deref()), &json!({ "job_id": answer.job }))
}

async fn erase(management: &Management, output: Output, of: &EventShowArgs) -> Result<()> {
    let application = management.application(of.of.application.as_deref()).await?;
    let asked = path("/events/{}?application_id={}", [&of.event, &application]);
    let answer = management.ask(&format!("event {}", of.event), Ask::delete(&asked)).await?;
    let event = &of.event;
    let until = answer.until.as_deref().map(|until| format!("; the last copy in Kafka expires by {until}"));
    let sentence = format!("event {event} is erased{}", until.unwrap_or_default());
    output::done(output, &sentence, &json!({ "erased_until": answer.until }))
}

/// What is said of a replay that was asked for: whether it was sent, its job tells.
fn sent_again(replay: &ReplayArgs, job: Option<&str>) -> String {
    let event = &replay.event;
    let Some(job) = job else { return format!("event {event} is going to be sent again") };
    let of = replay.of.application.as_deref().map(|of| format!(" --application {of}")).unwrap_or_default();
    format!(
        "event {event} is going to be sent again by job {job}\n\
         how far it is: hookbus job show {job}\n\
         what came of it: hookbus event show {event}{of}"
    )
}

async fn send(management: &Management, output: Output, send: &SendArgs) -> Result<()> {
    let mut body = json!({
        "application_id": management.application(send.of.application.as_deref()).await?,
        "event_type": send.event_type,
        "payload": payload(send)?,
        "labels": send.labels.iter().cloned().collect::<BTreeMap<String, String>>(),
    });
    if let Some(id) = &send.id {
        body["event_id"] = json!(id);
    }
    // A string needs its content type beside it.
    if body["payload"].is_string() {
        body["payload"] = Value::String(body["payload"].to_string());
        body["payload_content_type"] = json!("application/json");
    }
    let ask = Ask::send(Method::POST, "/event", &body);
    let sent = management.ask_gateway(send.gateway_url.as_deref(), &format!("event {}", send.event_type), ask).await?;
    output::one(output, &sent.value, COLUMNS)
}

fn payload(send: &SendArgs) -> Result<Value> {
    let text = match (&send.payload, &send.payload_file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => read(file)?,
        (None, None) => {
            return Err(crate::usage(
                "give the payload: --payload JSON or --payload-file FILE (`-` is standard input)",
            ));
        }
    };
    serde_json::from_str(&text).map_err(|error| crate::usage(format!("the payload is no JSON: {error}")))
}

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(PAYLOAD_LIMIT).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|it| it.take(PAYLOAD_LIMIT).read_to_string(&mut text))
    };
    read.map_err(|error| crate::usage(format!("cannot read {}: {error}", file.display())))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::manage::OfApplication;

    #[test]
    fn a_replay_names_its_job_and_where_to_look_next() {
        let of = OfApplication { application: Some("shop".to_owned()) };
        let replay = ReplayArgs { of, event: "evt_1".to_owned(), subscription: None };
        let said = sent_again(&replay, Some("0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f"));
        assert!(said.contains("hookbus job show 0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f"), "{said}");
        assert!(said.contains("hookbus event show evt_1 --application shop"), "{said}");
        // An older server names none.
        assert_eq!(sent_again(&replay, None), "event evt_1 is going to be sent again");
    }
}
