//! `hookbus registry`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use http::Method;
use serde_json::{Value, json};

use crate::cli::registry::{
    OneRegistry, RegistryArgs, RegistryCommand, RegistryCreateArgs, RegistryFields, RegistrySetArgs,
};
use crate::commands::apply::reference::Variables;
use crate::management::{self, Ask, path};
use crate::output::{self, Column};

const COLUMNS: &[Column] =
    &[("name", "name"), ("uid", "uid"), ("id", "schema_registry_id"), ("urls", "urls"), ("auth", "auth.type")];
const ONE: &[Column] = &[
    ("id", "schema_registry_id"),
    ("uid", "uid"),
    ("name", "name"),
    ("urls", "urls"),
    ("auth", "auth"),
    ("trusts", "ca_pem"),
    ("timeout ms", "timeout_ms"),
    ("created", "created_at"),
    ("updated", "updated_at"),
];
const CHECKED: &[Column] =
    &[("reachable", "reachable"), ("subjects", "subjects"), ("ms", "latency_ms"), ("error", "error")];

/// Lists, shows, makes, changes, asks or deletes.
///
/// # Errors
/// The management API refuses or cannot be reached; a registry that was asked does not answer.
pub(crate) async fn run(args: &RegistryArgs) -> Result<()> {
    let management = management::open(&args.common.login)?;
    let output = args.common.output;
    let shown = match &args.command {
        RegistryCommand::List => {
            let all = management.list("schema registries", "/schema_registries").await?;
            return output::list(output, &all, COLUMNS);
        }
        RegistryCommand::Delete(one) => {
            let answer = management.remove(&what(one), &path("/schema_registries/{}", [&one.registry])).await?;
            return output::done(output, &format!("{} is deleted", what(one)), &answer);
        }
        RegistryCommand::Check(one) => {
            let body = json!({});
            let ask = Ask::send(Method::POST, path("/schema_registries/{}/check", [&one.registry]), &body);
            let answer = management.ask(&what(one), ask).await?.value;
            output::one(output, &answer, CHECKED)?;
            if answer["reachable"] != true {
                bail!("{} cannot be used", what(one));
            }
            return Ok(());
        }
        RegistryCommand::Get(one) => {
            management.ask(&what(one), Ask::get(path("/schema_registries/{}", [&one.registry]))).await?.value
        }
        RegistryCommand::Create(create) => {
            let body = created(create, &crate::variables)?;
            let ask = Ask::send(Method::POST, "/schema_registries", &body);
            management.ask(&format!("schema registry {}", create.name), ask).await?.value
        }
        RegistryCommand::Set(set) => {
            let body = changed(set, &crate::variables)?;
            // A patch: a user that is given alone keeps the password.
            let ask = Ask::send(Method::PATCH, path("/schema_registries/{}", [&set.one.registry]), &body);
            management.ask(&what(&set.one), ask).await?.value
        }
    };
    output::one(output, &shown, ONE)
}

/// What a refusal is about.
fn what(one: &OneRegistry) -> String {
    format!("schema registry {}", one.registry)
}

/// The body that makes one.
fn created(args: &RegistryCreateArgs, variables: Variables<'_>) -> Result<Value> {
    let mut body = BTreeMap::from([("name", json!(args.name)), ("urls", json!(args.urls))]);
    body.extend(given(&args.fields, variables)?);
    Ok(json!(body))
}

/// The body that changes one.
fn changed(args: &RegistrySetArgs, variables: Variables<'_>) -> Result<Value> {
    let mut body = BTreeMap::new();
    if let Some(name) = &args.name {
        body.insert("name", json!(name));
    }
    if !args.urls.is_empty() {
        body.insert("urls", json!(args.urls));
    }
    body.extend(given(&args.fields, variables)?);
    body.extend(args.clear.iter().map(|name| (name.as_str(), Value::Null)));
    Ok(json!(body))
}

fn given(fields: &RegistryFields, variables: Variables<'_>) -> Result<BTreeMap<&'static str, Value>> {
    let secret = |name: &String| {
        variables(name).ok_or_else(|| crate::usage(format!("the environment variable {name} is not set")))
    };
    let mut given = BTreeMap::new();
    if let Some(uid) = &fields.uid {
        given.insert("uid", json!(uid));
    }
    if let Some(username) = &fields.username {
        let mut auth = json!({ "type": "basic", "username": username });
        if let Some(variable) = &fields.password_env {
            auth["password"] = json!(secret(variable)?);
        }
        given.insert("auth", auth);
    }
    if let Some(variable) = &fields.bearer_env {
        given.insert("auth", json!({ "type": "bearer", "token": secret(variable)? }));
    }
    if let Some(file) = &fields.ca_file {
        let pem = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        given.insert("ca_pem", json!(pem));
    }
    if let Some(timeout_ms) = fields.timeout_ms {
        given.insert("timeout_ms", json!(timeout_ms));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn command(arguments: &[&str]) -> RegistryCommand {
        let all = ["hookbus", "registry"].into_iter().chain(arguments.iter().copied());
        let Command::Registry(args) = Cli::try_parse_from(all).unwrap().command else { panic!("another command") };
        args.command
    }

    fn variables(name: &str) -> Option<String> {
        (name == "HERE").then(|| "geheim".to_owned())
    }

    #[test]
    fn what_is_given_is_sent_and_secrets_come_from_variables() {
        let text =
            "create Main --at https://a:8081 --at https://b:8081 --uid main --username hookbus --password-env HERE";
        let RegistryCommand::Create(args) = command(&text.split(' ').collect::<Vec<_>>()) else { panic!() };
        let expected = json!({"name": "Main", "urls": ["https://a:8081", "https://b:8081"], "uid": "main",
            "auth": {"type": "basic", "username": "hookbus", "password": "geheim"}});
        assert_eq!(created(&args, &variables).unwrap(), expected);
        assert!(created(&args, &|_name| None).unwrap_err().to_string().contains("HERE"));

        let set = |more: &[&str]| {
            let RegistryCommand::Set(args) = command(&[&["set", "main"], more].concat()) else { panic!() };
            changed(&args, &variables).unwrap()
        };
        assert_eq!(set(&["--username", "new"]), json!({"auth": {"type": "basic", "username": "new"}}));
        assert_eq!(set(&["--bearer-env", "HERE"]), json!({"auth": {"type": "bearer", "token": "geheim"}}));
        assert_eq!(set(&["--timeout-ms", "900", "--clear", "auth"]), json!({"timeout_ms": 900, "auth": null}));
    }

    #[test]
    fn one_way_to_show_who_asks_is_enough() {
        let both = ["hookbus", "registry", "set", "main", "--username", "a", "--bearer-env", "HERE"];
        assert!(Cli::try_parse_from(both).is_err());
        assert!(Cli::try_parse_from(["hookbus", "registry", "set", "main", "--password-env", "HERE"]).is_err());
        assert!(Cli::try_parse_from(["hookbus", "registry", "create", "Main"]).is_err(), "it has to be somewhere");
    }
}
