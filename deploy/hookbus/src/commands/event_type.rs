//! `hookbus event-type`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use http::Method;
use serde_json::{Value, json};

use crate::cli::manage::{EventTypeArgs, EventTypeCommand};
use crate::management::{self, Ask, path};
use crate::output::{self, Column};

const COLUMNS: &[Column] = &[("name", "event_type_name"), ("deprecated", "deprecated"), ("description", "description")];
const ONE: &[Column] = &[
    ("name", "event_type_name"),
    ("deprecated", "deprecated"),
    ("deprecated at", "deprecated_at"),
    ("sunset at", "sunset_at"),
    ("description", "description"),
    ("schema", "schema"),
];

/// Lists, shows, declares or deletes.
///
/// # Errors
/// The management API refuses or cannot be reached, or a schema is no JSON.
pub(crate) async fn run(args: &EventTypeArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    let application = management.application(args.application.as_deref()).await?;
    match &args.command {
        EventTypeCommand::List => {
            let of = path("/event_types?application_id={}", [&application]);
            output::list(output, &management.list("event types", &of).await?, COLUMNS)
        }
        EventTypeCommand::Get { name } => {
            let one = path("/event_types/{}?application_id={}", [name, &application]);
            let found = management.ask(&format!("event type {name}"), Ask::get(one)).await?;
            output::one(output, &found.value, ONE)
        }
        EventTypeCommand::Create { name, description, schema, deprecated, deprecated_at, sunset_at, reinstated } => {
            let mut body = json!({ "application_id": application, "name": name });
            if let Some(description) = description {
                body["description"] = json!(description);
            }
            if let Some(file) = schema {
                body["schema"] = read(file)?;
            }
            if *deprecated || *reinstated {
                body["deprecated"] = json!(deprecated);
            }
            for (field, given) in [("deprecated_at", deprecated_at), ("sunset_at", sunset_at)] {
                if let Some(given) = given {
                    body[field] = json!(given);
                }
            }
            let ask = Ask::send(Method::POST, "/event_types", &body);
            let made = management.ask(&format!("event type {name}"), ask).await?;
            output::one(output, &made.value, ONE)
        }
        EventTypeCommand::Delete { name } => {
            let one = path("/event_types/{}?application_id={}", [name, &application]);
            let answer = management.remove(&format!("event type {name}"), &one).await?;
            output::done(output, &format!("event type {name} is deleted"), &answer)
        }
    }
}

fn read(file: &Path) -> Result<Value> {
    let shown = file.display();
    let text = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    serde_json::from_slice(&text).map_err(|error| crate::usage(format!("{shown} is no JSON: {error}")))
}
