//! `hookbus replay`: many events are sent again.

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::job;
use crate::cli::jobs::{ReplaysArgs, ReplaysCommand, StartArgs};
use crate::management::{self, Ask, Management};

/// Asks for a job.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &ReplaysArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let ReplaysCommand::Start(start) = &args.command;
    let body = body(start, management.application(start.of.application.as_deref()).await?);
    ask_for(&management, args.common.output, ("replay", "/replays", start.dry_run), &body).await
}

/// Asks for a job, or for what it would do.
///
/// # Errors
/// As [`run`].
pub(crate) async fn ask_for(
    management: &Management,
    output: crate::cli::manage::Output,
    (what, path, dry_run): (&str, &str, bool),
    body: &Value,
) -> Result<()> {
    let path = if dry_run { format!("{path}?dry_run=true") } else { path.to_owned() };
    let answer = management.ask(what, Ask::send(Method::POST, path, body)).await?.value;
    crate::output::one(output, &answer, if dry_run { job::ESTIMATE } else { job::COLUMNS })
}

fn body(start: &StartArgs, application: String) -> Value {
    let mut filter = json!({});
    if !start.events.is_empty() {
        filter["event_ids"] = json!(start.events);
    }
    if !start.event_type.is_empty() {
        filter["event_types"] = json!(start.event_type);
    }
    if !start.labels.is_empty() {
        filter["labels"] =
            start.labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect();
    }
    if !start.outcome.is_empty() {
        filter["outcome"] = json!(start.outcome);
    }
    let texts = [
        ("from", &start.from),
        ("to", &start.to),
        ("subscription_id", &start.subscription),
        ("http_status", &start.http_status),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            filter[name] = json!(value);
        }
    }
    let mut body = json!({ "application_id": application, "filter": filter });
    match start.send_to.as_deref() {
        None => {}
        Some(word @ ("matching" | "same")) => body["to"] = json!(word),
        Some(subscription) => body["to"] = json!({ "subscription_id": subscription }),
    }
    if let Some(rate) = start.rate {
        body["rate_per_second"] = json!(rate);
    }
    body
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        start: StartArgs,
    }

    fn asked(line: &str) -> Value {
        body(&Line::try_parse_from(line.split(' ')).unwrap().start, "shop".to_owned())
    }

    #[test]
    fn what_is_asked_for_stands_in_the_body() {
        let asked_for =
            asked("x --outcome failed --outcome waiting --http-status 5xx --label a=b --to-whom same --rate 9");
        let filter = json!({"outcome": ["failed", "waiting"], "http_status": "5xx", "labels": {"a": "b"}});
        assert_eq!(asked_for, json!({"application_id": "shop", "filter": filter, "to": "same", "rate_per_second": 9}));
        let named = asked("x evt_1 evt_2 --to-whom mine");
        let filter = json!({"event_ids": ["evt_1", "evt_2"]});
        assert_eq!(named, json!({"application_id": "shop", "filter": filter, "to": {"subscription_id": "mine"}}));
    }
}
