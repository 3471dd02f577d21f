//! `hookbus job`.

use anyhow::Result;
use http::Method;
use serde_json::json;

use crate::cli::jobs::{JobArgs, JobCommand};
use crate::management::{self, Ask, path};
use crate::output::{self, Column};

/// What is shown of a job, also by whoever asks for one.
pub(crate) const COLUMNS: &[Column] = &[
    ("job", "job_id"),
    ("kind", "kind"),
    ("state", "state"),
    ("counts", "counts"),
    ("created", "created_at"),
    ("ended", "ended_at"),
];

/// Lists, shows or cancels.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &JobArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    match &args.command {
        JobCommand::List { of, kind, state } => {
            let application = management.application(of.application.as_deref()).await?;
            let mut asked = path("/jobs?application_id={}", [&application]);
            for (name, value) in [("kind", kind), ("state", state)] {
                if let Some(value) = value {
                    asked.push_str(&path(&format!("&{name}={{}}"), [value]));
                }
            }
            output::list(output, &management.list("jobs", &asked).await?, COLUMNS)
        }
        JobCommand::Show { job } => {
            let found = management.ask(&format!("job {job}"), Ask::get(path("/jobs/{}", [job]))).await?;
            output::one(output, &found.value, COLUMNS)
        }
        JobCommand::Cancel { job } => {
            let body = json!({});
            let ask = Ask::send(Method::POST, path("/jobs/{}/cancel", [job]), &body);
            output::one(output, &management.ask(&format!("job {job}"), ask).await?.value, COLUMNS)
        }
    }
}
