//! What a pod's template says about one of its containers as a process: its arguments, environment, files, probes, grace. Pure.
//!
//! A process here has no namespaces, so three things are put in place of them, and nothing else is changed:
//!
//! - **files**: what is mounted lies in a folder of the pod's own, and paths of mounts become paths in it, in the environment and in
//!   what is mounted;
//! - **network**: the process is told to listen on its pod's address, at the ports that the template names;
//! - **names**: those of Services become their addresses, in the environment and in arguments.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::manifests::Manifests;

/// What there is beside the pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    pub(super) manifests: Manifests,
    /// What is secret, by its Secret's name.
    pub(super) secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// `name:port` of Services, and where they listen here.
    pub(super) services: BTreeMap<String, SocketAddr>,
}

/// Which pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodIdentity {
    pub(super) name: String,
    /// Its number in its `StatefulSet`.
    pub(super) index: Option<usize>,
    pub(super) address: Ipv4Addr,
    /// Its files.
    pub(super) folder: PathBuf,
}

/// One container as a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContainerPlan {
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// What is mounted, by its path outside.
    pub(super) files: BTreeMap<PathBuf, String>,
    /// Folders that it may write.
    pub(super) folders: Vec<PathBuf>,
    /// Its ports by name.
    pub(super) ports: BTreeMap<String, SocketAddr>,
    pub(super) readiness: Option<Probe>,
    pub(super) liveness: Option<Probe>,
    /// From SIGTERM to SIGKILL.
    pub(super) grace: Duration,
}

/// A question that is asked again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) asks: ProbeQuestion,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
    /// So many failures in a row count.
    pub(super) failures: u64,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProbeQuestion {
    /// A URL: yes is a success.
    Get(String),
    /// The image's own program with these arguments: yes is exit code 0.
    Run(Vec<String>),
}

/// A path of the container, and where it lies here.
struct Mounted(Vec<(String, PathBuf)>);

// === impl ContainerPlan ===

impl ContainerPlan {
    /// The containers of a pod in the order of their start, and whether each has to end before the next one begins.
    pub(super) fn of_pod(
        template: &Value,
        pod: &PodIdentity,
        beside: &Surroundings,
    ) -> anyhow::Result<Vec<(Self, bool)>> {
        let spec = &template["spec"];
        let mut plans = Vec::new();
        for (kind, ends) in [("initContainers", true), ("containers", false)] {
            for container in spec[kind].as_array().into_iter().flatten() {
                let plan = Self::of(spec, container, pod, beside);
                plans.push((plan.with_context(|| format!("{} of {}", container["name"], pod.name))?, ends));
            }
        }
        ensure!(!plans.is_empty(), "{} has no containers", pod.name);
        Ok(plans)
    }

    fn of(spec: &Value, container: &Value, pod: &PodIdentity, beside: &Surroundings) -> anyhow::Result<Self> {
        ensure!(container["command"].is_null(), "the image's own entry point is played, and no other command");
        let mounted = Mounted::of(spec, container, pod);
        let mut files = BTreeMap::new();
        let mut folders = Vec::new();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let (name, path) = (text(mount, "name")?, text(mount, "mountPath")?);
            let volumes = spec["volumes"].as_array().into_iter().flatten();
            let volume = volumes.into_iter().find(|volume| volume["name"] == name);
            let volume = volume.with_context(|| format!("no volume {name}"))?;
            let outside = mounted.outside(path);
            if volume.get("emptyDir").is_some() || shared(volume).is_some() {
                folders.push(outside);
                continue;
            }
            for (file, content) in contents(volume, beside)? {
                files.insert(outside.join(file), mounted.translate(&content));
            }
        }
        let arguments = container["args"].as_array().into_iter().flatten();
        let arguments: anyhow::Result<Vec<String>> = arguments
            .map(|argument| {
                let argument = argument.as_str().with_context(|| format!("{argument} is no text"))?;
                Ok(named(&mounted.translate(argument), &beside.services))
            })
            .collect();
        let (arguments, ports) = (arguments?, ports(container, pod)?);
        let mut environment = environment(container, pod, beside)?;
        for value in environment.values_mut() {
            *value = named(&mounted.translate(value), &beside.services);
        }
        environment.extend(listeners(arguments.first().map(String::as_str), &ports));
        environment.insert("HOSTNAME".to_owned(), pod.name.clone());
        let grace = Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(30));
        let probe = |kind: &str| Probe::of(&container[kind], &ports);
        let (readiness, liveness) = (probe("readinessProbe")?, probe("livenessProbe")?);
        Ok(Self { arguments, environment, files, folders, ports, readiness, liveness, grace })
    }

    /// Writes what is mounted.
    pub(super) fn lay_out(&self) -> anyhow::Result<()> {
        for folder in &self.folders {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        for (path, content) in &self.files {
            let folder = path.parent().context("a file lies in a folder")?;
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            std::fs::write(path, content).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// Where a volume lies that several containers have.
fn shared(volume: &Value) -> Option<&Path> {
    volume["hostPath"]["path"].as_str().map(Path::new)
}

/// What a volume holds, by file.
fn contents(volume: &Value, beside: &Surroundings) -> anyhow::Result<Vec<(String, String)>> {
    if let Some(name) = volume["configMap"]["name"].as_str() {
        return Ok(beside.manifests.config_map(name)?.into_iter().collect());
    }
    let name = volume["secret"]["secretName"].as_str();
    let name = name.with_context(|| format!("a volume of a kind that nobody plays here: {volume}"))?;
    let secret = beside.secrets.get(name).with_context(|| format!("no Secret {name}"))?;
    let items = volume["secret"]["items"].as_array().with_context(|| format!("Secret {name} is mounted whole"))?;
    items
        .iter()
        .map(|item| {
            let (key, path) = (text(item, "key")?, text(item, "path")?);
            let content = secret.get(key).with_context(|| format!("no {key} in Secret {name}"))?;
            Ok((path.to_owned(), content.clone()))
        })
        .collect()
}

/// The variables of a container, `$(NAME)` replaced by those before it.
fn environment(
    container: &Value,
    pod: &PodIdentity,
    beside: &Surroundings,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = text(variable, "name")?;
        let from = &variable["valueFrom"];
        let value = if from.is_null() {
            variable["value"].as_str().unwrap_or_default().to_owned()
        } else {
            value_from(from, pod, beside).with_context(|| name.to_owned())?
        };
        let value = known.iter().fold(value, |value, (name, known)| value.replace(&format!("$({name})"), known));
        known.insert(name.to_owned(), value);
    }
    Ok(known)
}

fn value_from(from: &Value, pod: &PodIdentity, beside: &Surroundings) -> anyhow::Result<String> {
    const INDEX: &str = "metadata.labels['apps.kubernetes.io/pod-index']";
    if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
        return match (path, pod.index) {
            ("metadata.name", _) => Ok(pod.name.clone()),
            (INDEX, Some(index)) => Ok(index.to_string()),
            _other => bail!("{path} of a pod that has none"),
        };
    }
    let named = &from["secretKeyRef"];
    let (name, key) = (text(named, "name")?, text(named, "key")?);
    let found = beside.secrets.get(name).and_then(|secret| secret.get(key));
    Ok(found.with_context(|| format!("no {key} in Secret {name}"))?.clone())
}

fn ports(container: &Value, pod: &PodIdentity) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
    let ports = container["ports"].as_array().into_iter().flatten();
    ports
        .map(|port| {
            let number = port["containerPort"].as_u64().context("a port has a number")?;
            Ok((text(port, "name")?.to_owned(), SocketAddr::from((pod.address, u16::try_from(number)?))))
        })
        .collect()
}

/// What a network of its own would do: the process listens on its pod's address.
fn listeners(role: Option<&str>, ports: &BTreeMap<String, SocketAddr>) -> BTreeMap<String, String> {
    let role = role.unwrap_or_default().to_uppercase();
    let of = |port: &str, section: &str| {
        let address = ports.get(port)?;
        Some((format!("HOOKBUS__{section}__LISTEN"), address.to_string()))
    };
    [of("http", &role), of("admin", "ADMIN")].into_iter().flatten().collect()
}

/// Names of Services, as DNS would answer them.
fn named(text: &str, services: &BTreeMap<String, SocketAddr>) -> String {
    services
        .iter()
        .fold(text.to_owned(), |text, (name, address)| text.replace(&format!("//{name}"), &format!("//{address}")))
}

fn text<'a>(object: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    object[field].as_str().with_context(|| format!("no {field} in {object}"))
}

// === impl Probe ===

impl Probe {
    fn of(probe: &Value, ports: &BTreeMap<String, SocketAddr>) -> anyhow::Result<Option<Self>> {
        if probe.is_null() {
            return Ok(None);
        }
        let asks = match probe["exec"]["command"].as_array() {
            None => {
                let get = &probe["httpGet"];
                let (path, port) = (text(get, "path")?, text(get, "port")?);
                let address = ports.get(port).with_context(|| format!("no port {port}"))?;
                ProbeQuestion::Get(format!("http://{address}{path}"))
            }
            Some(command) => {
                let words: Option<Vec<&str>> = command.iter().map(Value::as_str).collect();
                match words.as_deref() {
                    Some(["/hookbus", arguments @ ..]) => {
                        ProbeQuestion::Run(arguments.iter().map(|it| (*it).to_owned()).collect())
                    }
                    _other => bail!("the image has no other program than /hookbus: {probe}"),
                }
            }
        };
        let seconds = |field: &str, default| Duration::from_secs(probe[field].as_u64().unwrap_or(default));
        Ok(Some(Self {
            asks,
            every: seconds("periodSeconds", 10),
            timeout: seconds("timeoutSeconds", 1),
            failures: probe["failureThreshold"].as_u64().unwrap_or(3),
        }))
    }
}

// === impl Mounted ===

impl Mounted {
    fn of(spec: &Value, container: &Value, pod: &PodIdentity) -> Self {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let mut all: Vec<_> = mounts
            .filter_map(|mount| {
                let path = mount["mountPath"].as_str()?;
                let volume = spec["volumes"].as_array()?.iter().find(|volume| volume["name"] == mount["name"]);
                let outside = volume.and_then(shared).map(Path::to_owned);
                Some((path.to_owned(), outside.unwrap_or_else(|| pod.folder.join(path.trim_start_matches('/')))))
            })
            .collect();
        // The longest first: one may lie in another.
        all.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self(all)
    }

    fn outside(&self, path: &str) -> PathBuf {
        let found = self.0.iter().find(|(mounted, _)| mounted == path);
        found.map_or_else(|| Path::new(path).to_owned(), |(_, outside)| outside.clone())
    }

    /// A text in which paths of mounts are what they are outside.
    fn translate(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (path, outside)| text.replace(path, &outside.display().to_string()))
    }
}

#[cfg(test)]
mod tests;
