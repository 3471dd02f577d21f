//! `hookbus organization`.

use anyhow::Result;
use http::Method;
use serde_json::json;

use crate::cli::manage::{OrganizationArgs, OrganizationCommand};
use crate::management::{self, Ask, path};
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[("name", "name"), ("uid", "uid"), ("plan", "plan.name"), ("id", "organization_id")];

/// Lists, makes or deletes.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &OrganizationArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    match &args.command {
        OrganizationCommand::List => {
            output::list(output, &management.list("organizations", "/organizations").await?, COLUMNS)
        }
        OrganizationCommand::Create { name, uid, plan } => {
            let mut body = json!({ "name": name });
            for (field, given) in [("uid", uid), ("plan", plan)] {
                if let Some(given) = given {
                    body[field] = json!(given);
                }
            }
            let what = format!("organization {name}");
            let made = management.ask(&what, Ask::send(Method::POST, "/organizations", &body)).await?;
            output::one(output, &made.value, COLUMNS)
        }
        OrganizationCommand::Delete { organization } => {
            let what = format!("organization {organization}");
            let answer = management.remove(&what, &path("/organizations/{}", [organization])).await?;
            output::done(output, &format!("{what} is deleted"), &answer)
        }
    }
}
