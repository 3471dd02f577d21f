//! `hookbus export`: what is there, as the files `hookbus apply` reads.
//!
//! Everything that can be written by a client is in them, and nothing else: applied to what they were made from, they change
//! nothing. Signing secrets and application secrets are left out unless asked for; what the API never shows again stands as
//! its mask, which keeps what is stored.

mod object;
mod yaml;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::cli::apply::ExportArgs;
use crate::management::{self, Management, path};
use crate::screen;

/// What a viewer sees in place of a token.
const UNSEEN: &str = "00000000-0000-0000-0000-000000000000";

/// One application with everything in it.
struct Exported {
    name: String,
    documents: Vec<Map<String, Value>>,
}

/// Reads everything and writes it.
///
/// # Errors
/// The management API refuses or cannot be reached, or a file cannot be written.
pub(crate) async fn run(args: &ExportArgs) -> Result<()> {
    let management = management::open(&args.login)?;
    let applications = applications(&management, &args.applications).await?;
    let mut exported = Vec::new();
    if args.applications.is_empty() {
        exported.extend(organizations(&management).await);
        exported.extend(schema_registries(&management).await);
        exported.extend(sources(&management).await);
    }
    for application in &applications {
        exported.push(application_of(&management, application, args.with_secrets).await?);
    }
    match &args.output {
        Some(folder) => write(folder, &exported),
        None => print(&exported),
    }
}

async fn applications(management: &Management, named: &[String]) -> Result<Vec<Value>> {
    if named.is_empty() {
        let mut all = management.list("applications", "/applications").await?;
        // What one application shows beside its fields stands in no list.
        all.sort_by(|one, other| one["application_id"].as_str().cmp(&other["application_id"].as_str()));
        return Ok(all);
    }
    let mut found = Vec::new();
    for name in named {
        let what = format!("application {name}");
        let ask = management::Ask::get(path("/applications/{}", [name]));
        found.push(management.ask(&what, ask).await?.value);
    }
    Ok(found)
}

/// The organizations, if the token sees them.
async fn organizations(management: &Management) -> Option<Exported> {
    let all = management.list("organizations", "/organizations").await.ok()?;
    let documents = all.iter().map(object::organization).collect();
    Some(Exported { name: "organizations".to_owned(), documents })
}

/// The schema registries, if the token sees them.
async fn schema_registries(management: &Management) -> Option<Exported> {
    let all = management.list("schema registries", "/schema_registries").await.ok()?;
    let documents = all.iter().map(object::schema_registry).collect();
    Some(Exported { name: "schema_registries".to_owned(), documents })
}

/// The sources, if the token sees them. They are an organization's, so no application's file has them.
async fn sources(management: &Management) -> Option<Exported> {
    let all = management.list("sources", "/sources").await.ok()?;
    let documents = all.iter().map(object::source).collect();
    Some(Exported { name: "sources".to_owned(), documents })
}

async fn application_of(management: &Management, application: &Value, with_secrets: bool) -> Result<Exported> {
    let id = application["application_id"].as_str().unwrap_or_default();
    let name = application["uid"].as_str().unwrap_or(id).to_owned();
    let of = |list: &str| path(&format!("/{list}?application_id={{}}"), [id]);
    let what = |list: &str| format!("{list} of {name}");
    let secrets = management.list(&what("application secrets"), &of("application_secrets")).await;
    let secrets = match secrets {
        Ok(secrets) => secrets,
        // A viewer sees everything but the tokens.
        Err(_refused) if !with_secrets => Vec::new(),
        Err(error) => return Err(error),
    };
    if with_secrets && secrets.iter().any(|secret| secret["token"] == UNSEEN) {
        bail!("the token may not see secrets: --with-secrets needs an editor's");
    }
    let mut documents = vec![object::application(application, &secrets, with_secrets)];
    for event_type in management.list(&what("event types"), &of("event_types")).await? {
        documents.push(object::event_type(&event_type, &name));
    }
    for subscription in management.list(&what("subscriptions"), &of("subscriptions")).await? {
        documents.push(object::subscription(&subscription, &name, with_secrets));
    }
    Ok(Exported { name, documents })
}

fn print(exported: &[Exported]) -> Result<()> {
    let documents: Vec<String> =
        exported.iter().flat_map(|it| &it.documents).map(yaml::write).collect::<Result<_>>()?;
    Ok(screen::line(documents.concat().trim_end())?)
}

fn write(folder: &Path, exported: &[Exported]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for file in exported.iter().filter(|it| !it.documents.is_empty()) {
        // A uid may hold what no file name should.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        let name: String = file.name.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
        let path = folder.join(format!("{name}.yaml"));
        let text: Vec<String> = file.documents.iter().map(yaml::write).collect::<Result<_>>()?;
        let open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = open.and_then(|mut it| it.write_all(text.concat().as_bytes()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        screen::progress(&format!("{}: {} documents", path.display(), file.documents.len()))?;
    }
    Ok(())
}
