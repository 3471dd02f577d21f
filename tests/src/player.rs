//! Plays a release of the chart without a cluster: what `helm template` writes, each pod a process, against real Kafka.
//!
//! ```text
//! values --helm template--> Manifests --> jobs of the hook, each container to its end
//!                                     --> Deployment, StatefulSet: pods with an address each, 127.1.n.1 and up
//!                                         probes, SIGTERM, grace period (`player/kubelet.rs`), rollouts (`player/rollout.rs`)
//!                                     --> Service: an address in front of pods that are ready (`player/service.rs`)
//! Player::upgrade(values)   the jobs again, then every workload whose template has changed, all at once, as `helm upgrade`
//! ```
//!
//! Arguments, environment, `ConfigMap`s, Secrets, ports, probes and grace periods are the template's (`player/pod.rs` says what stands in
//! for namespaces). `KafkaUser`s become users with their permissions and their Secrets (`player/strimzi.rs`). Not played:
//! images, limits, users, network policies, disruption budgets, scalers.

pub mod compose;
mod helm;
mod kubelet;
mod manifests;
mod network;
mod pod;
mod rollout;
mod service;
mod strimzi;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use chassis::tasks;
use serde_json::Value;

use self::kubelet::Incidents;
use self::manifests::{Manifests, WorkloadSpec, is_of_hook, name_of};
use self::network::Network;
use self::pod::{PodIdentity, Surroundings};
use self::rollout::{Node, Workload};
use self::service::Service;
use crate::http::Http;
use crate::supervisor::sum_of;

/// What is installed, and with what.
#[derive(Clone, Debug)]
pub struct PlayerOptions {
    /// Name of the release.
    pub release: String,
    /// The binary that every pod runs.
    pub binary: PathBuf,
    /// Where files and logs of pods lie.
    pub folder: PathBuf,
    /// Values of the chart.
    pub values: Value,
    /// What is secret.
    pub secrets: Secrets,
    /// Where an administrator of Kafka connects: the release's `KafkaUser`s are made there, as Strimzi would.
    pub strimzi: Option<String>,
}

/// What the cluster's Secrets hold, by their names.
pub type Secrets = BTreeMap<String, BTreeMap<String, String>>;

/// A release that runs. Dropping it kills its pods.
#[derive(Debug)]
pub struct Player {
    options: PlayerOptions,
    node: Node,
    workloads: Vec<Workload>,
}

impl Player {
    /// Installs the release: the jobs before it, then everything, and waits until every pod is ready.
    ///
    /// # Errors
    /// The chart does not render, a job fails, a pod does not get ready: with the end of its log.
    pub async fn install(options: PlayerOptions) -> anyhow::Result<Self> {
        let manifests = Manifests::new(helm::render(&options.release, &options.values).await?);
        let (network, incidents) = (Arc::new(Network::take()?), Incidents::default());
        let mut services = Vec::new();
        for spec in manifests.services()? {
            services.push(Service::start(spec, network.next_service()?, incidents.clone()).await?);
        }
        let beside = Arc::new(Surroundings {
            manifests,
            secrets: options.secrets.clone(),
            services: services.iter().map(|service| (service.name(), service.address)).collect(),
        });
        let node = Node {
            binary: options.binary.clone(),
            folder: options.folder.clone(),
            network,
            services,
            beside: Arc::clone(&beside),
            incidents,
        };
        let mut player = Self { options, node, workloads: Vec::new() };
        player.run_jobs("pre-install").await?;
        if let Some(administrator) = &player.options.strimzi {
            let users = strimzi::make_users(administrator, &beside.manifests).await?;
            let secrets = beside.secrets.clone().into_iter().chain(users).collect();
            player.node.beside = Arc::new(Surroundings { secrets, ..(*beside).clone() });
        }
        for spec in beside.manifests.workloads()? {
            let workload = Workload::start(spec, &player.node).await?;
            player.workloads.push(workload);
        }
        for workload in &player.workloads {
            workload.ready().await?;
        }
        Ok(player)
    }

    /// Where a Service listens, by what follows the release's name in its own: `http://127.1.n.m:port`.
    ///
    /// # Errors
    /// There is none.
    pub fn url(&self, ending: &str) -> anyhow::Result<String> {
        let found = self.node.services.iter().find(|service| service.spec.name.ends_with(ending));
        Ok(format!("http://{}", found.with_context(|| format!("no Service ...{ending}"))?.address))
    }

    /// What the release's `hookbus.toml` says, without what is of a pod.
    ///
    /// # Errors
    /// The release has none.
    pub fn settings(&self) -> anyhow::Result<String> {
        let maps =
            self.node.beside.manifests.of_kind("ConfigMap").filter(|map| map["metadata"]["annotations"].is_null());
        let found = maps.filter_map(|map| map["data"]["hookbus.toml"].as_str()).next();
        Ok(found.context("no ConfigMap with hookbus.toml")?.to_owned())
    }

    /// Upgrades the release to values over those it has: the jobs before it, then all workloads that have changed roll at once. Returns
    /// how many did.
    ///
    /// # Errors
    /// As [`Player::install`]; or the upgrade changes Services, which stay as they are here.
    pub async fn upgrade(&mut self, over: &Value) -> anyhow::Result<usize> {
        let mut values = self.options.values.clone();
        merge(&mut values, over);
        let manifests = Manifests::new(helm::render(&self.options.release, &values).await?);
        let kept = self.node.services.iter().map(|service| &service.spec).eq(&manifests.services()?);
        ensure!(kept, "the upgrade changes Services");
        self.options.values = values;
        let beside = Surroundings { manifests, ..(*self.node.beside).clone() };
        self.node.beside = Arc::new(beside);
        self.run_jobs("pre-upgrade").await?;
        let wanted = self.node.beside.manifests.workloads()?;
        let (mut rolling, mut kept) = (Vec::new(), Vec::new());
        for workload in std::mem::take(&mut self.workloads) {
            let spec = wanted.iter().find(|spec| spec.name == workload.spec.name);
            let spec = spec.with_context(|| format!("the upgrade takes {} away", workload.spec.name))?.clone();
            if spec == workload.spec {
                kept.push(workload);
            } else {
                rolling.push(tasks::spawn("rollout", roll(workload, spec, self.node.clone())));
            }
        }
        let (rolled, mut outcomes) = (rolling.len(), Vec::new());
        for rollout in rolling {
            let (workload, outcome) = rollout.await?;
            kept.push(workload);
            outcomes.push(outcome);
        }
        self.workloads = kept;
        outcomes.into_iter().collect::<anyhow::Result<()>>()?;
        Ok(rolled)
    }

    /// What went wrong that a cluster would have mended or hidden: pods that ended by themselves, had to be killed or were not alive,
    /// and connections that no pod took. And violations of invariants that pods have counted.
    pub async fn incidents(&self) -> Vec<String> {
        let mut found = self.node.incidents.all();
        for pod in self.workloads.iter().flat_map(|workload| workload.pods.values()) {
            let Some(admin) = pod.port("admin") else { continue };
            let metrics = Http::default().get(&format!("http://{admin}/metrics")).await;
            let text = metrics.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
            match text.map(|text| sum_of(&text, "hookbus_invariant_violations_total")) {
                Ok(Some(count)) if count <= 0.0 => {}
                Ok(counted) => found.push(format!("{} has counted {counted:?} violations itself", pod.name)),
                Err(error) => found.push(format!("{}: {error:#}", pod.name)),
            }
        }
        found
    }

    /// Ends every pod as a node that is drained would, and says what went wrong up to then.
    ///
    /// # Errors
    /// A pod's end cannot be waited for.
    pub async fn uninstall(mut self) -> anyhow::Result<Vec<String>> {
        for workload in &mut self.workloads {
            workload.end().await?;
        }
        Ok(self.node.incidents.all())
    }

    /// The ends of all logs.
    #[must_use]
    pub fn log_tails(&self) -> String {
        let pods = self.workloads.iter().flat_map(|workload| workload.pods.values());
        pods.map(|pod| format!("\n{}", pod.log_tail())).collect()
    }

    /// What `helm test` runs.
    ///
    /// # Errors
    /// A pod of it does not end well: with the end of its log.
    pub async fn test(&self) -> anyhow::Result<()> {
        let manifests = &self.node.beside.manifests;
        for pod in manifests.of_kind("Pod").filter(|pod| is_of_hook(pod, "test")) {
            self.run_to_end(pod, pod, "test").await?;
        }
        Ok(())
    }

    async fn run_jobs(&self, hook: &str) -> anyhow::Result<()> {
        for job in self.node.beside.manifests.of_kind("Job").filter(|job| is_of_hook(job, hook)) {
            self.run_to_end(job, &job["spec"]["template"], hook).await?;
        }
        Ok(())
    }

    async fn run_to_end(&self, object: &Value, template: &Value, hook: &str) -> anyhow::Result<()> {
        let name = name_of(object).to_owned();
        let folder = self.node.folder.join(format!("{name}.{hook}"));
        let identity = PodIdentity { name, index: None, address: self.node.network.next()?, folder };
        kubelet::run_to_end(&self.node.binary, template, &identity, &self.node.beside).await
    }
}

/// The second over the first, as Helm merges values.
pub(crate) fn merge(values: &mut Value, over: &Value) {
    match (values, over) {
        (Value::Object(values), Value::Object(over)) => {
            for (name, value) in over {
                merge(values.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (values, over) => *values = over.clone(),
    }
}

async fn roll(mut workload: Workload, spec: WorkloadSpec, node: Node) -> (Workload, anyhow::Result<()>) {
    let outcome = workload.roll(spec, &node).await;
    (workload, outcome)
}
