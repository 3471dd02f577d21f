//! The pods of one workload: started, and replaced as its controller would.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::kubelet::{Incidents, Pod};
use super::manifests::{WorkloadKind, WorkloadSpec, texts};
use super::network::Network;
use super::pod::{PodIdentity, Surroundings};
use super::service::Service;

/// A role starts in seconds; cores are shared.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// What every pod is started with.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) binary: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) network: Arc<Network>,
    pub(super) services: Vec<Service>,
    pub(super) beside: Arc<Surroundings>,
    pub(super) incidents: Incidents,
}

/// Pods of one template.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) spec: WorkloadSpec,
    /// By their place: the number of a `StatefulSet`'s, which stays.
    pub(super) pods: BTreeMap<usize, Pod>,
    /// Pods that were ever made: those of a `Deployment` have a name of their own each.
    made: usize,
}

impl Workload {
    /// Starts all at once, as `podManagementPolicy: Parallel` and deployments do.
    pub(super) async fn start(spec: WorkloadSpec, node: &Node) -> anyhow::Result<Self> {
        let mut workload = Self { spec, pods: BTreeMap::new(), made: 0 };
        for place in 0..workload.spec.replicas {
            let pod = workload.make(place, node).await?;
            workload.pods.insert(place, pod);
        }
        Ok(workload)
    }

    /// Waits until every pod is.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        for pod in self.pods.values() {
            pod.ready(READY_WITHIN).await?;
        }
        Ok(())
    }

    /// Replaces every pod by one of the new template.
    pub(super) async fn roll(&mut self, spec: WorkloadSpec, node: &Node) -> anyhow::Result<()> {
        self.spec = spec;
        match self.spec.kind {
            WorkloadKind::Deployment => self.surge(node).await,
            WorkloadKind::StatefulSet => self.replace(node).await,
        }
    }

    /// `maxSurge: 1`, `maxUnavailable: 0`: those that leave are not waited for.
    async fn surge(&mut self, node: &Node) -> anyhow::Result<()> {
        let old = std::mem::take(&mut self.pods);
        let mut leaving = Vec::new();
        for (place, former) in old {
            let pod = self.make(place, node).await?;
            pod.ready(READY_WITHIN).await?;
            self.pods.insert(place, pod);
            former.end();
            leaving.push(former);
        }
        for pod in leaving {
            pod.gone().await?;
        }
        Ok(())
    }

    /// From the highest number down, one at a time.
    async fn replace(&mut self, node: &Node) -> anyhow::Result<()> {
        let places: Vec<usize> = self.pods.keys().rev().copied().collect();
        for place in places {
            let former = self.pods.remove(&place).context("it is one of the pods")?;
            former.end();
            former.gone().await?;
            let pod = self.make(place, node).await?;
            pod.ready(READY_WITHIN).await?;
            self.pods.insert(place, pod);
        }
        Ok(())
    }

    /// Ends all of them and waits.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        let pods = std::mem::take(&mut self.pods);
        pods.values().for_each(Pod::end);
        for pod in pods.into_values() {
            pod.gone().await?;
        }
        Ok(())
    }

    async fn make(&mut self, place: usize, node: &Node) -> anyhow::Result<Pod> {
        self.made += 1;
        let (name, index) = match self.spec.kind {
            WorkloadKind::Deployment => (format!("{}-{}", self.spec.name, self.made), None),
            WorkloadKind::StatefulSet => (format!("{}-{place}", self.spec.name), Some(place)),
        };
        // Nothing is left of a pod in that of the same name: what is no volume goes with it.
        let folder = node.folder.join(format!("{name}.{}", self.made));
        let identity = PodIdentity { name, index, address: node.network.next()?, folder };
        let template = &self.spec.template;
        let pod = Pod::start(&node.binary, template, identity, &node.beside, &node.incidents).await?;
        node.services.iter().filter(|service| selects(&service.spec.selector, template)).for_each(|it| it.add(&pod));
        Ok(pod)
    }
}

fn selects(selector: &BTreeMap<String, String>, template: &Value) -> bool {
    let labels = texts(&template["metadata"]["labels"]).unwrap_or_default();
    selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_finds_pods_with_all_of_its_labels() {
        let template = json!({ "metadata": { "labels": { "role": "gateway", "release": "hooks", "more": "x" } } });
        let selector =
            |role: &str| [("role".to_owned(), role.to_owned()), ("release".to_owned(), "hooks".to_owned())].into();
        assert!(selects(&selector("gateway"), &template));
        assert!(!selects(&selector("control"), &template));
        assert!(!selects(&selector("gateway"), &json!({ "metadata": {} })));
    }
}
