//! `hookbus application`.

use anyhow::Result;
use http::Method;
use serde_json::json;

use crate::cli::manage::{ApplicationArgs, ApplicationCommand};
use crate::management::{self, Ask, path};
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[
    ("name", "name"),
    ("uid", "uid"),
    ("id", "application_id"),
    ("organization", "organization_id"),
    ("unknown types", "unknown_event_types"),
];

/// Lists, shows, makes or deletes.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &ApplicationArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    match &args.command {
        ApplicationCommand::List { organization } => {
            let of = organization.as_ref().map(|it| path("/applications?organization_id={}", [it]));
            let list = management.list("applications", of.as_deref().unwrap_or("/applications")).await?;
            output::list(output, &list, COLUMNS)
        }
        ApplicationCommand::Get { application } => {
            let what = format!("application {application}");
            let found = management.ask(&what, Ask::get(path("/applications/{}", [application]))).await?;
            output::one(output, &found.value, COLUMNS)
        }
        ApplicationCommand::Create { name, organization, uid } => {
            let mut body = json!({ "name": name });
            for (field, given) in [("organization_id", organization), ("uid", uid)] {
                if let Some(given) = given {
                    body[field] = json!(given);
                }
            }
            let what = format!("application {name}");
            let made = management.ask(&what, Ask::send(Method::POST, "/applications", &body)).await?;
            output::one(output, &made.value, COLUMNS)
        }
        ApplicationCommand::Delete { application } => {
            let what = format!("application {application}");
            let answer = management.remove(&what, &path("/applications/{}", [application])).await?;
            output::done(output, &format!("{what} is deleted"), &answer)
        }
    }
}
