//! `hookbus source`.

mod body;

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use crate::cli::source::{OneSource, SourceArgs, SourceCommand};
use crate::management::{self, Ask, Management, path};
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[
    ("name", "name"),
    ("uid", "uid"),
    ("id", "source_id"),
    ("topics", "topics"),
    ("format", "format"),
    ("state", "status.state"),
    ("lag", "status.lag_records"),
    ("lag ms", "status.lag_ms"),
    ("error", "status.error.code"),
];
const ONE: &[Column] = &[
    ("id", "source_id"),
    ("uid", "uid"),
    ("name", "name"),
    ("organization", "organization_id"),
    ("topics", "topics"),
    ("left out", "exclude"),
    ("format", "format"),
    ("registry", "registry"),
    ("application", "application"),
    ("type", "type"),
    ("default type", "default_type"),
    ("event id", "id"),
    ("time", "time"),
    ("time unit", "time_unit"),
    ("labels", "labels"),
    ("payload", "payload"),
    ("without a value", "on_null"),
    ("start", "start"),
    ("enabled", "is_enabled"),
    ("paused", "is_paused"),
    ("positions", "position_id"),
    ("created", "created_at"),
    ("updated", "updated_at"),
    ("state", "status.state"),
    ("since", "status.since"),
    ("reads topics", "status.topics"),
    ("partitions", "status.partitions"),
    ("lag", "status.lag_records"),
    ("lag ms", "status.lag_ms"),
    ("records", "status.records"),
    ("rejected", "status.rejected"),
    ("skipped", "status.skipped"),
    ("error", "status.error.code"),
    ("what to do", "status.error.detail"),
    ("topic", "status.error.topic"),
    ("partition", "status.error.partition"),
];
const LAG: &[Column] = &[
    ("topic", "topic"),
    ("partition", "partition"),
    ("committed", "committed"),
    ("end", "end"),
    ("lag", "lag_records"),
    ("lag ms", "lag_ms"),
    ("state", "state"),
    ("error", "error.detail"),
];

/// Lists, shows, makes, changes, moves or tries.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &SourceArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    let shown = match &args.command {
        SourceCommand::List { organization } => {
            let list = match organization {
                Some(organization) => path("/sources?organization_id={}", [organization]),
                None => "/sources".to_owned(),
            };
            return output::list(output, &management.list("sources", &list).await?, COLUMNS);
        }
        SourceCommand::Lag(one) => {
            let list = path("/sources/{}/partitions", [&one.source]);
            return output::list(output, &management.list(&what(one), &list).await?, LAG);
        }
        SourceCommand::Delete(one) => {
            let answer = management.remove(&what(one), &path("/sources/{}", [&one.source])).await?;
            return output::done(output, &format!("source {} is deleted", one.source), &answer);
        }
        SourceCommand::Test(test) => {
            let body = body::tested(test)?;
            let ask = Ask::send(Method::POST, "/sources:test", &body);
            let answer = management.ask(&what(&test.one), ask).await?.value;
            return output::one(output, &body::readable(output, answer), body::TESTED);
        }
        SourceCommand::Get(one) => {
            management.ask(&what(one), Ask::get(path("/sources/{}", [&one.source]))).await?.value
        }
        SourceCommand::Create(create) => {
            let body = body::created(create)?;
            let ask = Ask::send(Method::POST, "/sources", &body);
            management.ask(&format!("source {}", create.name), ask).await?.value
        }
        SourceCommand::Set(set) => {
            let body = body::changed(set)?;
            let ask = Ask::send(Method::PUT, path("/sources/{}", [&set.one.source]), &body);
            management.ask(&what(&set.one), ask).await?.value
        }
        SourceCommand::Pause(one) => act(&management, one, "pause", &json!({})).await?,
        SourceCommand::Resume(one) => act(&management, one, "resume", &json!({})).await?,
        SourceCommand::Move(moved) => act(&management, &moved.one, "move", &body::moved(moved)?).await?,
    };
    output::one(output, &shown, ONE)
}

async fn act(management: &Management, one: &OneSource, action: &str, body: &Value) -> Result<Value> {
    let ask = Ask::send(Method::POST, path(&format!("/sources/{{}}/{action}"), [&one.source]), body);
    Ok(management.ask(&what(one), ask).await?.value)
}

/// What a refusal is about.
fn what(one: &OneSource) -> String {
    format!("source {}", one.source)
}
