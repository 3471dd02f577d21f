//! Plays `deploy/compose/compose.yaml` as `docker compose up` would, with processes in place of containers.
//!
//! ```text
//! compose.yaml --file.rs--> services in the order of `depends_on` --template--> a pod's template (`player/pod.rs`)
//!     one that others wait for to end well: to its end, at its turn        others: started when those before them are healthy
//! ```
//!
//! Commands, environment, volumes, ports, health checks and grace periods are the file's. A service that the test has already, as Kafka, is not
//! started: its name stands for where it is. Not played: images, limits, users, restarts, profiles.

mod file;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use self::file::{ComposeService, Mount, StartsAfter};
use super::kubelet::{self, Incidents, Pod};
use super::network::Network;
use super::pod::{PodIdentity, Surroundings};

/// A service is healthy within this.
const HEALTHY_WITHIN: Duration = Duration::from_secs(180);
/// Where every process of ours has its admin port.
const ADMIN_PORT: u16 = 9090;

/// What is brought up, and with what.
#[derive(Clone, Debug)]
pub struct ComposeOptions {
    /// The binary that is in the image.
    pub binary: PathBuf,
    /// Where volumes and logs lie.
    pub folder: PathBuf,
    /// What `.env` would say.
    pub variables: BTreeMap<String, String>,
    /// Services that run already, by `name:port`, and where.
    pub provided: BTreeMap<String, String>,
}

/// What was brought up. Dropping it kills its processes.
#[derive(Debug)]
pub struct ComposePlayer {
    /// In the order of their start.
    running: Vec<(String, Pod)>,
    names: BTreeMap<String, SocketAddr>,
    incidents: Incidents,
    _network: Network,
}

/// The file of this repository.
#[must_use]
pub fn compose_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/compose/compose.yaml")
}

// === impl ComposePlayer ===

impl ComposePlayer {
    /// Brings everything up, and waits until what others wait for is healthy.
    ///
    /// # Errors
    /// The file says what nobody plays, a job fails, or a service is not healthy: with the end of its log.
    pub async fn up(options: ComposeOptions) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(compose_file()).context("reading the compose file")?;
        let provided = |name: &str| options.provided.keys().any(|known| known.split(':').next() == Some(name));
        let services = file::services(&text, &options.variables)?;
        let services: Vec<ComposeService> = services.into_iter().filter(|service| !provided(&service.name)).collect();
        let network = Network::take()?;
        let (mut addresses, mut names) = (BTreeMap::new(), BTreeMap::new());
        for service in &services {
            let address = network.next()?;
            addresses.insert(service.name.clone(), address);
            names.extend(service.ports.iter().map(|port| {
                let at = SocketAddr::from((address, *port));
                (format!("{}:{port}", service.name), at)
            }));
        }
        let mut player = Self { running: Vec::new(), names, incidents: Incidents::default(), _network: network };
        for service in &services {
            let is_job = services.iter().any(|other| other.after.get(&service.name) == Some(&StartsAfter::Ended));
            player.start(service, is_job, addresses[&service.name], &options).await?;
        }
        Ok(player)
    }

    async fn start(
        &mut self,
        service: &ComposeService,
        is_job: bool,
        address: Ipv4Addr,
        options: &ComposeOptions,
    ) -> anyhow::Result<()> {
        for name in service.after.iter().filter(|(_, after)| **after == StartsAfter::Healthy).map(|(name, _)| name) {
            if let Some((_, pod)) = self.running.iter().find(|(running, _)| running == name) {
                pod.ready(HEALTHY_WITHIN).await?;
            }
        }
        let identity = PodIdentity {
            name: service.hostname.clone(),
            index: None,
            address,
            folder: options.folder.join(&service.name),
        };
        let beside = Surroundings { services: self.names.clone(), ..Surroundings::default() };
        let template = template(service, address, options)?;
        if is_job {
            return kubelet::run_to_end(&options.binary, &template, &identity, &beside).await;
        }
        let pod = Pod::start(&options.binary, &template, identity, &beside, &self.incidents).await?;
        self.running.push((service.name.clone(), pod));
        Ok(())
    }

    /// Where a service listens.
    ///
    /// # Errors
    /// It does not, at this port.
    pub fn url(&self, service: &str, port: u16) -> anyhow::Result<String> {
        let at = self.names.get(&format!("{service}:{port}"));
        Ok(format!("http://{}", at.with_context(|| format!("{service} has no port {port}"))?))
    }

    /// What a service has printed.
    ///
    /// # Errors
    /// It does not run.
    pub fn log(&self, service: &str) -> anyhow::Result<String> {
        let found = self.running.iter().find(|(name, _)| name == service);
        Ok(found.with_context(|| format!("{service} does not run"))?.1.log())
    }

    /// Takes everything down, what was started last first, and says what went wrong up to then.
    ///
    /// # Errors
    /// An end cannot be waited for.
    pub async fn down(mut self) -> anyhow::Result<Vec<String>> {
        while let Some((_, pod)) = self.running.pop() {
            pod.end();
            pod.gone().await?;
        }
        Ok(self.incidents.all())
    }
}

/// A service as a pod of one container.
fn template(service: &ComposeService, address: Ipv4Addr, options: &ComposeOptions) -> anyhow::Result<Value> {
    ensure!(service.is_ours, "{} is of an image that nobody plays here", service.name);
    let of_provided =
        |text: &str| options.provided.iter().fold(text.to_owned(), |text, (name, at)| text.replace(name.as_str(), at));
    // A network of its own has one address of its own.
    let arguments = service.command.iter().map(|word| word.replace("0.0.0.0:", &format!("{address}:")));
    let environment =
        service.environment.iter().map(|(name, value)| json!({ "name": name, "value": of_provided(value) }));
    let role = service.command.first().map(String::as_str);
    let ports = service.ports.iter().map(|port| {
        let name = match (*port, role) {
            (ADMIN_PORT, _) => "admin".to_owned(),
            (_, Some("gateway" | "control")) => "http".to_owned(),
            (other, _) => format!("port-{other}"),
        };
        json!({ "name": name, "containerPort": port })
    });
    let (mut mounts, mut volumes) = (Vec::new(), Vec::new());
    for (number, mount) in service.mounts.iter().enumerate() {
        let (path, name) = (mount.path(), format!("volume-{number}"));
        mounts.push(json!({ "name": name, "mountPath": path }));
        volumes.push(match mount {
            Mount::Memory { .. } => json!({ "name": name, "emptyDir": {} }),
            Mount::Volume { volume, .. } => {
                json!({ "name": name, "hostPath": { "path": options.folder.join("volumes").join(volume) } })
            }
        });
    }
    let probe = service.health.as_ref().map(|health| {
        json!({ "exec": { "command": health.command }, "periodSeconds": health.every_s, "timeoutSeconds": health.timeout_s,
                "failureThreshold": health.retries })
    });
    Ok(json!({ "spec": {
        "terminationGracePeriodSeconds": service.grace_s,
        "volumes": volumes,
        "containers": [{
            "name": service.name,
            "args": arguments.collect::<Vec<_>>(),
            "env": environment.collect::<Vec<_>>(),
            "ports": ports.collect::<Vec<_>>(),
            "volumeMounts": mounts,
            "readinessProbe": probe,
        }],
    } }))
}
