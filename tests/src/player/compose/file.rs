//! The compose file: merge keys and variables resolved, services in the order of their start. Pure.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};

use crate::player::helm;
use crate::player::manifests::texts;

/// What compose waits for when a file does not say.
const GRACE_S: u64 = 10;

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ComposeService {
    pub(super) name: String,
    pub(super) hostname: String,
    /// Whether it is of our image.
    pub(super) is_ours: bool,
    pub(super) command: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) ports: Vec<u16>,
    pub(super) mounts: Vec<Mount>,
    pub(super) health: Option<HealthCheck>,
    /// From SIGTERM to SIGKILL, seconds.
    pub(super) grace_s: u64,
    pub(super) after: BTreeMap<String, StartsAfter>,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartsAfter {
    Started,
    Healthy,
    Ended,
}

/// A folder that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mount {
    /// One that others may have too.
    Volume { volume: String, path: String },
    /// Its own, empty at the start.
    Memory { path: String },
}

/// A health check that runs the image's own program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HealthCheck {
    pub(super) command: Vec<String>,
    pub(super) every_s: u64,
    pub(super) timeout_s: u64,
    pub(super) retries: u64,
}

// === impl Mount ===

impl Mount {
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Volume { path, .. } | Self::Memory { path } => path,
        }
    }
}

/// The services without a profile, each after those that it waits for.
pub(super) fn services(text: &str, variables: &BTreeMap<String, String>) -> anyhow::Result<Vec<ComposeService>> {
    let file = document(text, variables)?;
    let mut left = BTreeMap::new();
    for (name, service) in file["services"].as_object().context("a compose file has services")? {
        if service["profiles"].is_null() {
            let read = read(name, service).with_context(|| format!("service {name}"))?;
            left.insert(name.clone(), read);
        }
    }
    let mut ordered: Vec<ComposeService> = Vec::new();
    while !left.is_empty() {
        let is_next = |service: &ComposeService| service.after.keys().all(|name| !left.contains_key(name));
        let next = left.values().find(|service| is_next(service)).map(|service| service.name.clone());
        let next = next.with_context(|| format!("these services wait for each other: {:?}", left.keys()))?;
        ordered.extend(left.remove(&next));
    }
    for service in &ordered {
        let known = |name: &&String| ordered.iter().any(|other| other.name == **name);
        let unknown = service.after.keys().find(|name| !known(name));
        ensure!(unknown.is_none(), "{} waits for {unknown:?}, which is not there", service.name);
    }
    Ok(ordered)
}

/// The file, with what `<<` merges and what variables stand for.
pub(super) fn document(text: &str, variables: &BTreeMap<String, String>) -> anyhow::Result<Value> {
    let [file] = &helm::objects(text)?[..] else { bail!("a compose file is one document") };
    resolved(&merged(file.clone()), variables)
}

fn merged(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Map<String, Value> =
                entries.into_iter().map(|(name, value)| (name, merged(value))).collect();
            let base = entries.remove("<<");
            // What stands beside `<<` wins, and so does the first of several.
            for base in base.into_iter().flat_map(|base| if let Value::Array(all) = base { all } else { vec![base] }) {
                for (name, value) in base.as_object().into_iter().flatten() {
                    entries.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
            Value::Object(entries)
        }
        Value::Array(values) => values.into_iter().map(merged).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

fn resolved(value: &Value, variables: &BTreeMap<String, String>) -> anyhow::Result<Value> {
    Ok(match value {
        Value::String(text) => Value::from(interpolated(text, variables)?),
        Value::Array(values) => values.iter().map(|value| resolved(value, variables)).collect::<anyhow::Result<_>>()?,
        Value::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| Ok((name.clone(), resolved(value, variables)?)));
            Value::Object(entries.collect::<anyhow::Result<_>>()?)
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other.clone(),
    })
}

/// `${NAME}` and `${NAME:-default}`.
fn interpolated(text: &str, variables: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, named)) = rest.split_once("${") {
        let (inside, after) = named.split_once('}').with_context(|| format!("no end of a variable in {text}"))?;
        let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
        let value = variables.get(name).map(String::as_str).or(default);
        done.push_str(before);
        done.push_str(value.with_context(|| format!("{name} is not set"))?);
        rest = after;
    }
    ensure!(!rest.contains('$'), "nobody plays this: {text}");
    Ok(done + rest)
}

fn read(name: &str, service: &Value) -> anyhow::Result<ComposeService> {
    ensure!(service["entrypoint"].is_null(), "the image's own entry point is played");
    let image = service["image"].as_str().context("it has an image")?;
    let is_ours = image.starts_with("hookbus:");
    let mounts = words(&service["volumes"])?.into_iter().filter(|_| is_ours).map(|mount| volume(&mount));
    let memory = words(&service["tmpfs"])?.into_iter().map(|mount| {
        let path = mount.split(':').next().unwrap_or_default().to_owned();
        Ok(Mount::Memory { path })
    });
    let published = words(&service["ports"])?.into_iter().chain(words(&service["expose"])?);
    let port = |port: String| port.rsplit(':').next().unwrap_or_default().parse::<u16>().context("a port is a number");
    let environment = if service["environment"].is_null() { BTreeMap::new() } else { texts(&service["environment"])? };
    Ok(ComposeService {
        name: name.to_owned(),
        hostname: service["hostname"].as_str().unwrap_or(name).to_owned(),
        is_ours,
        command: words(&service["command"])?,
        environment,
        ports: published.map(port).collect::<anyhow::Result<_>>()?,
        mounts: mounts.chain(memory).collect::<anyhow::Result<_>>()?,
        health: if is_ours { health(&service["healthcheck"])? } else { None },
        grace_s: service["stop_grace_period"].as_str().map_or(Ok(GRACE_S), seconds)?,
        after: after(&service["depends_on"])?,
    })
}

fn volume(text: &str) -> anyhow::Result<Mount> {
    let (volume, path) = text.split_once(':').context("a volume has a path")?;
    ensure!(!volume.contains(['.', '/']), "a folder of the host is not played: {text}");
    let path = path.split(':').next().unwrap_or(path).to_owned();
    Ok(Mount::Volume { volume: volume.to_owned(), path })
}

fn health(check: &Value) -> anyhow::Result<Option<HealthCheck>> {
    if check.is_null() {
        return Ok(None);
    }
    let mut command = words(&check["test"])?;
    ensure!(command.first().is_some_and(|kind| kind == "CMD"), "a health check without a shell is played: {check}");
    command.remove(0);
    let of = |field: &str| seconds(check[field].as_str().with_context(|| format!("no {field}"))?);
    let retries = check["retries"].as_u64().context("no retries")?;
    Ok(Some(HealthCheck { command, every_s: of("interval")?, timeout_s: of("timeout")?, retries }))
}

fn after(depends_on: &Value) -> anyhow::Result<BTreeMap<String, StartsAfter>> {
    let entries = depends_on.as_object().into_iter().flatten();
    entries
        .map(|(name, value)| {
            let condition = match value["condition"].as_str() {
                Some("service_started") => StartsAfter::Started,
                Some("service_healthy") => StartsAfter::Healthy,
                Some("service_completed_successfully") => StartsAfter::Ended,
                _other => bail!("nobody plays this: {value}"),
            };
            Ok((name.clone(), condition))
        })
        .collect()
}

fn words(list: &Value) -> anyhow::Result<Vec<String>> {
    let words = list.as_array().into_iter().flatten();
    words.map(|word| Ok(word.as_str().with_context(|| format!("{word} is no text"))?.to_owned())).collect()
}

fn seconds(text: &str) -> anyhow::Result<u64> {
    text.strip_suffix('s').and_then(|number| number.parse().ok()).with_context(|| format!("{text} is no 30s"))
}

#[cfg(test)]
mod tests;
