//! `hookbus apply` and `hookbus export`.

use std::path::PathBuf;

use clap::Args;

use super::manage::Login;

/// What an example is worth a page of words.
pub(crate) const APPLY_HELP: &str = "\
Every document names its `kind` (organization, application, event_type, subscription). Objects are found by `uid` (event types
by `name`), or by `id` where one is given; a field that is not written keeps its value, `null` clears it. Secrets stand in the
files as `{env: NAME}` or `{file: PATH}` and are never printed.

Without --prune nothing is deleted. With it, event types and subscriptions that no document names are deleted, only in the
applications that have a document themselves; applications, organizations and tokens never are.

  kind: subscription
  application: shop
  uid: warehouse
  event_types: [order.shipped.v2]
  target: { url: https://warehouse.example.com/hooks, headers: { authorization: { env: WAREHOUSE_TOKEN } } }

Examples:
  hookbus apply -f hooks/ --dry-run     print what would change
  hookbus apply -f hooks/               change it
  hookbus export --output hooks/        write what is there";

/// Examples of `hookbus export`.
pub(crate) const EXPORT_HELP: &str = "\
Examples:
  hookbus export                                   all of it to standard output
  hookbus export --application shop --output hooks/  one file per application
  hookbus export --with-secrets > backup.yaml      signing secrets and application secrets too

Values that the API never shows again (passwords, secret headers) stand as '********': applied, they keep what is stored.";

/// `hookbus apply`
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) login: Login,
    /// A YAML or JSON file, or a folder whose `.yaml` and `.yml` files are read, at any depth; `-` is standard input.
    #[arg(long = "file", short = 'f', value_name = "PATH", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print the plan and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete event types and subscriptions of the given applications that no document names.
    #[arg(long)]
    pub(crate) prune: bool,
}

/// `hookbus export`
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) login: Login,
    /// Only these applications: id or uid.
    #[arg(long = "application", short, value_name = "APPLICATION")]
    pub(crate) applications: Vec<String>,
    /// A folder: one file per application, readable by you alone. Without it everything goes to standard output.
    #[arg(long, short, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
    /// Write signing secrets and application secrets in plain text.
    #[arg(long)]
    pub(crate) with_secrets: bool,
}
