//! `hookbus deadletters`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{logged, replay};
use crate::cli::jobs::{DeadLettersArgs, DeadLettersCommand, WhichLetters};
use crate::management::{self, Management};

/// Lists, or asks for a job.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &DeadLettersArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    let (what, body, dry_run) = match &args.command {
        DeadLettersCommand::List(list) => return logged::dead_letters(&management, output, list).await,
        DeadLettersCommand::Show { dead_letter, of } => {
            return logged::dead_letter(&management, output, dead_letter, of).await;
        }
        DeadLettersCommand::Redrive { which, rate, dry_run } => {
            let mut body = which.body(&management).await?;
            if let Some(rate) = rate {
                body["rate_per_second"] = json!(rate);
            }
            ("redrive", body, *dry_run)
        }
        DeadLettersCommand::Discard { which, why, dry_run } => {
            let mut body = which.body(&management).await?;
            body["reason"] = json!(why);
            ("discard", body, *dry_run)
        }
    };
    let (said, path) = (format!("{what} of dead letters"), format!("/dead_letters:{what}"));
    replay::ask_for(&management, output, (&said, &path, dry_run), &body).await
}

// === impl WhichLetters ===

impl WhichLetters {
    async fn body(&self, management: &Management) -> Result<Value> {
        let mut body = json!({ "application_id": management.application(self.of.application.as_deref()).await? });
        if !self.all {
            body["dead_letter_ids"] = json!(self.ids);
            return Ok(body);
        }
        let mut filter = json!({});
        let given =
            [("subscription_id", &self.subscription), ("reason", &self.reason), ("from", &self.from), ("to", &self.to)];
        for (name, value) in given {
            if let Some(value) = value {
                filter[name] = json!(value);
            }
        }
        if !self.event_type.is_empty() {
            filter["event_types"] = json!(self.event_type);
        }
        body["filter"] = filter;
        Ok(body)
    }
}
