//! The objects of a release by kind and name, and what a player needs of them. Pure.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// Objects of one release.
#[derive(Clone, Debug, Default)]
pub(super) struct Manifests {
    objects: Vec<Value>,
}

/// What keeps a number of alike pods running.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WorkloadSpec {
    /// Its name, which begins those of its pods.
    pub(super) name: String,
    /// How pods are replaced.
    pub(super) kind: WorkloadKind,
    /// How many.
    pub(super) replicas: usize,
    /// What each is made of: metadata and spec.
    pub(super) template: Value,
}

/// Which controller has the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkloadKind {
    /// One more pod than there are; an old one ends when the new one is ready.
    Deployment,
    /// The pod with the highest number ends, and the next one only when its successor is ready.
    StatefulSet,
}

/// An address in front of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceSpec {
    pub(super) name: String,
    pub(super) port: u16,
    /// Name of the port of the pods.
    pub(super) target: String,
    pub(super) selector: BTreeMap<String, String>,
}

impl Manifests {
    /// These objects.
    pub(super) const fn new(objects: Vec<Value>) -> Self {
        Self { objects }
    }

    /// All objects of a kind.
    pub(super) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// What a `ConfigMap` holds.
    pub(super) fn config_map(&self, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let found = self.of_kind("ConfigMap").find(|object| name_of(object) == name);
        texts(&found.with_context(|| format!("no ConfigMap {name}"))?["data"])
    }

    /// Everything that keeps pods running.
    pub(super) fn workloads(&self) -> anyhow::Result<Vec<WorkloadSpec>> {
        let mut found = Vec::new();
        for object in &self.objects {
            let kind = match object["kind"].as_str() {
                Some("Deployment") => WorkloadKind::Deployment,
                Some("StatefulSet") => WorkloadKind::StatefulSet,
                Some("DaemonSet" | "ReplicaSet") => bail!("{} is of a kind that nobody plays here", name_of(object)),
                _other => continue,
            };
            let (name, spec) = (name_of(object).to_owned(), &object["spec"]);
            let replicas = spec["replicas"].as_u64().with_context(|| format!("{name} says no number of pods"))?;
            found.push(WorkloadSpec { name, kind, replicas: replicas.try_into()?, template: spec["template"].clone() });
        }
        ensure!(!found.is_empty(), "the release has no pods");
        Ok(found)
    }

    /// Addresses in front of pods; those without one of their own left out.
    pub(super) fn services(&self) -> anyhow::Result<Vec<ServiceSpec>> {
        let of_own = self.of_kind("Service").filter(|object| object["spec"]["clusterIP"] != "None");
        of_own
            .map(|object| {
                let (name, spec) = (name_of(object), &object["spec"]);
                let port = &spec["ports"][0];
                let number = port["port"].as_u64().with_context(|| format!("Service {name} has no port"))?;
                let target = port["targetPort"].as_str().with_context(|| format!("Service {name} has no target"))?;
                Ok(ServiceSpec {
                    name: name.to_owned(),
                    port: number.try_into()?,
                    target: target.to_owned(),
                    selector: texts(&spec["selector"])?,
                })
            })
            .collect()
    }
}

/// Whether an object belongs to a hook of this name.
pub(super) fn is_of_hook(object: &Value, hook: &str) -> bool {
    let hooks = object["metadata"]["annotations"]["helm.sh/hook"].as_str().unwrap_or_default();
    hooks.split(',').any(|one| one == hook)
}

/// The name of an object.
pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// A mapping of texts.
pub(super) fn texts(object: &Value) -> anyhow::Result<BTreeMap<String, String>> {
    let entries = object.as_object().into_iter().flatten();
    entries
        .map(|(name, value)| {
            let text = value.as_str().with_context(|| format!("{name} is no text but {value}"))?;
            Ok((name.clone(), text.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hooks_workloads_and_services_are_found() {
        let job = |name: &str, hooks: &str| json!({ "kind": "Job", "metadata": { "name": name, "annotations": { "helm.sh/hook": hooks } } });
        let manifests = Manifests::new(vec![
            job("topics", "pre-install,pre-upgrade"),
            job("after", "post-install"),
            json!({ "kind": "StatefulSet", "metadata": { "name": "f" }, "spec": { "replicas": 2, "template": { "a": 1 } } }),
            json!({ "kind": "Service", "metadata": { "name": "pods" }, "spec": { "clusterIP": "None", "ports": [{}] } }),
            json!({ "kind": "Service", "metadata": { "name": "g" }, "spec": { "selector": { "a": "b" },
                "ports": [{ "name": "http", "port": 80, "targetPort": "http" }] } }),
            json!({ "kind": "ConfigMap", "metadata": { "name": "c" }, "data": { "x.toml": "y" } }),
        ]);
        let of_hook =
            |hook| manifests.of_kind("Job").filter(|job| is_of_hook(job, hook)).map(name_of).collect::<Vec<_>>();
        assert_eq!((of_hook("pre-upgrade"), of_hook("upgrade")), (vec!["topics"], vec![]));
        let [workload] = &manifests.workloads().unwrap()[..] else { panic!("one workload") };
        assert_eq!(
            (workload.kind, workload.replicas, &workload.template["a"]),
            (WorkloadKind::StatefulSet, 2, &json!(1))
        );
        let [service] = &manifests.services().unwrap()[..] else { panic!("one service") };
        assert_eq!((service.port, service.target.as_str(), service.selector["a"].as_str()), (80, "http", "b"));
        assert_eq!(manifests.config_map("c").unwrap()["x.toml"], "y");
        assert!(manifests.config_map("d").is_err());
        assert!(Manifests::default().workloads().is_err(), "a release without pods is a mistake of the test");
    }
}
