//! `hookbus rejected`.

use anyhow::Result;
use serde_json::{Value, json};

use super::replay;
use crate::cli::rejected::{RejectedArgs, RejectedCommand};
use crate::management::{self, Ask, path};
use crate::output::{self, Column};

/// What is shown of each in a list.
const ROW: &[Column] = &[
    ("rejected", "rejected_id"),
    ("at", "at"),
    ("reason", "reason"),
    ("detail", "detail"),
    ("position", "position"),
    ("origin", "origin"),
    ("source", "source_id"),
    ("retries", "retries"),
];

/// What is shown of one.
const ONE: &[Column] = &[
    ("rejected", "rejected_id"),
    ("at", "at"),
    ("reason", "reason"),
    ("detail", "detail"),
    ("position", "position"),
    ("origin", "origin"),
    ("timestamp", "timestamp"),
    ("source", "source_id"),
    ("organization", "organization_id"),
    ("application", "application_id"),
    ("cut", "cut"),
    ("retries", "retries"),
    ("key", "key_base64"),
    ("headers", "headers"),
    ("value", "value_base64"),
];

/// Lists, shows, or asks for a job.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &RejectedArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    match &args.command {
        RejectedCommand::List { which, limit } => {
            let mut asked = "/rejected?".to_owned();
            for (name, value) in which.given() {
                asked.push_str(&path(&format!("{name}={{}}&"), [value]));
            }
            output::list(
                output,
                &management.newest("rejected records", asked.trim_end_matches('&'), *limit).await?,
                ROW,
            )
        }
        RejectedCommand::Show { rejected } => {
            let what = format!("rejected record {rejected}");
            let found = management.ask(&what, Ask::get(path("/rejected/{}", [rejected]))).await?;
            output::one(output, &found.value, ONE)
        }
        RejectedCommand::Retry { ids, which, rate } => {
            let mut body: Value = which.given().map(|(name, value)| (name.to_owned(), json!(value))).collect();
            if !ids.is_empty() {
                body = json!({ "ids": ids });
            }
            if let Some(rate) = rate {
                body["rate_per_second"] = json!(rate);
            }
            let asked = ("retry of rejected records", "/rejected:retry", false);
            replay::ask_for(&management, output, asked, &body).await
        }
    }
}
