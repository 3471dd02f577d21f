//! `hookbus job`.

use anyhow::Result;
use http::Method;
use serde_json::json;

use crate::cli::jobs::{JobArgs, JobCommand};
use crate::cli::manage::Output;
use crate::management::{self, Ask, Management, path};
use crate::output::{self, Column};

/// What is shown of a job, also by whoever asks for one.
pub(crate) const COLUMNS: &[Column] = &[
    ("job", "job_id"),
    ("kind", "kind"),
    ("state", "state"),
    ("waiting for", "waiting_for"),
    ("percent", "percent"),
    ("counts", "counts"),
    ("created", "created_at"),
    ("ended", "ended_at"),
];

/// What is shown of what a job would do.
pub(crate) const ESTIMATE: &[Column] = &[
    ("events", "events"),
    ("deliveries", "deliveries"),
    ("bytes", "bytes"),
    ("oldest", "oldest"),
    ("newest", "newest"),
    ("expired", "expired"),
    ("estimated", "is_estimate"),
];

/// Lists, shows, pauses, resumes or cancels.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &JobArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    match &args.command {
        JobCommand::List { of, organization, kind, state } => {
            let mut asked = match organization {
                Some(organization) => path("/jobs?organization_id={}", [organization]),
                None => path("/jobs?application_id={}", [&management.application(of.application.as_deref()).await?]),
            };
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
        JobCommand::Pause { job } => change(&management, output, job, "pause").await,
        JobCommand::Resume { job } => change(&management, output, job, "resume").await,
        JobCommand::Cancel { job } => change(&management, output, job, "cancel").await,
    }
}

async fn change(management: &Management, output: Output, job: &str, verb: &str) -> Result<()> {
    let body = json!({});
    let ask = Ask::send(Method::POST, path("/jobs/{}/{}", [job, verb]), &body);
    output::one(output, &management.ask(&format!("job {job}"), ask).await?.value, COLUMNS)
}
