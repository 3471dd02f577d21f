//! `hookbus token`: application secrets and service tokens.

use anyhow::{Result, bail};
use http::Method;
use serde_json::{Value, json};

use crate::cli::manage::{OfToken, TokenArgs, TokenCommand};
use crate::management::{self, Ask, Management, path};
use crate::output::{self, Column};

const SECRETS: &[Column] = &[
    ("name", "name"),
    ("token", "token"),
    ("role", "role"),
    ("created", "created_at"),
    ("expires", "expires_at"),
    ("last used", "last_used_at"),
];
const SERVICE: &[Column] = &[
    ("name", "name"),
    ("id", "token_id"),
    ("token", "biscuit"),
    ("role", "role"),
    ("created", "created_at"),
    ("expires", "expires_at"),
    ("last used", "last_used_at"),
];

/// Lists, makes or revokes.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn run(args: &TokenArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    match &args.command {
        TokenCommand::List { of } => {
            let scope = scope(&management, of).await?;
            output::list(output, &management.list("tokens", &scope.listed()).await?, scope.columns())
        }
        TokenCommand::Create { name, of, role, expires_at } => {
            let scope = scope(&management, of).await?;
            let mut body = json!({ "name": name });
            body[scope.field()] = json!(scope.id());
            for (field, given) in [("role", role), ("expires_at", expires_at)] {
                if let Some(given) = given {
                    body[field] = json!(given);
                }
            }
            let ask = Ask::send(Method::POST, scope.path(), &body);
            let made: Value = management.ask(&format!("token {name}"), ask).await?.value;
            output::one(output, &made, scope.columns())
        }
        TokenCommand::Revoke { revoked, of } => {
            let scope = scope(&management, of).await?;
            // The API takes what is gone already for done; a person who mistyped would go home reassured.
            let known = management.list("tokens", &scope.listed()).await?;
            if !known.iter().any(|it| it[scope.key()] == **revoked) {
                bail!("there is no such token; `hookbus token list` shows each {}", scope.key());
            }
            let one = path(&format!("{}/{{}}?{}={{}}", scope.path(), scope.field()), [revoked, scope.id()]);
            let answer = management.ask("token", Ask::delete(one)).await?;
            output::done(output, "the token is revoked", &answer.value)
        }
    }
}

/// Whose tokens.
enum TokenScope {
    Application(String),
    Organization(String),
}

async fn scope(management: &Management, of: &OfToken) -> Result<TokenScope> {
    match &of.organization {
        Some(organization) => Ok(TokenScope::Organization(organization.clone())),
        None => management.application(of.application.as_deref()).await.map(TokenScope::Application),
    }
}

// === impl TokenScope ===

impl TokenScope {
    fn id(&self) -> &str {
        match self {
            Self::Application(id) | Self::Organization(id) => id,
        }
    }

    const fn field(&self) -> &'static str {
        match self {
            Self::Application(_) => "application_id",
            Self::Organization(_) => "organization_id",
        }
    }

    const fn path(&self) -> &'static str {
        match self {
            Self::Application(_) => "/application_secrets",
            Self::Organization(_) => "/service_token",
        }
    }

    /// The field one is revoked by.
    const fn key(&self) -> &'static str {
        match self {
            Self::Application(_) => "token",
            Self::Organization(_) => "token_id",
        }
    }

    fn listed(&self) -> String {
        path(&format!("{}?{}={{}}", self.path(), self.field()), [self.id()])
    }

    const fn columns(&self) -> &'static [Column] {
        match self {
            Self::Application(_) => SECRETS,
            Self::Organization(_) => SERVICE,
        }
    }
}
