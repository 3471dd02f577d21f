//! A pipeline whose processes are the pods of a release of the chart: settings become values, and what is secret Secrets.

use std::collections::BTreeMap;

use anyhow::Context;
use serde_json::{Value, json};

use super::{ADMIN_KEY, KEY, Launching, Pipeline, Role, Roles, SETTINGS_FILE, Setup, SharedKafka, environment};
use crate::http::Http;
use crate::player::{Player, PlayerOptions, Secrets, merge};

/// Name of every release: each has a network of its own.
const RELEASE: &str = "hooks";

impl Setup {
    /// Installs a release with these settings, and values on top of them, and waits until it is ready. Its one address is that of the
    /// gateway's Service, for events and management. How many pods a role has is said by the values.
    ///
    /// # Errors
    /// As [`Player::install`].
    pub async fn played(self, more: &Value) -> anyhow::Result<(Pipeline, Player)> {
        self.played_with(more, Secrets::new(), None).await
    }

    /// The same with more Secrets, and `KafkaUser`s that are made where an administrator of Kafka connects.
    ///
    /// # Errors
    /// As [`Player::install`]; or a user cannot be made.
    pub async fn played_with(
        mut self,
        more: &Value,
        secrets: Secrets,
        strimzi: Option<String>,
    ) -> anyhow::Result<(Pipeline, Player)> {
        let brokers = match self.brokers.take() {
            Some(brokers) => brokers,
            None => SharedKafka::of_this_run()?.bootstrap,
        };
        let binary = environment::hookbus_binary()?;
        let folder = tempfile::Builder::new().prefix(&format!("hookbus-{}-", self.name)).tempdir()?;
        let options = PlayerOptions {
            release: RELEASE.to_owned(),
            binary: binary.clone(),
            folder: folder.path().join("pods"),
            values: self.values(&brokers, more)?,
            secrets: own_secrets().into_iter().chain(secrets).collect(),
            strimzi,
        };
        // What a test waits for holds the player once, and not all that made it.
        let player = Box::pin(Player::install(options)).await;
        let player = player.with_context(|| format!("{}: installing the release", self.name))?;
        self.settings.set("kafka.brokers", brokers.as_str());
        self.settings.write(&folder.path().join(SETTINGS_FILE))?;
        let launching = Launching {
            binary: binary.clone(),
            folder: folder.path().to_owned(),
            planted: None,
            proxied: BTreeMap::new(),
            environment: BTreeMap::new(),
            arguments: BTreeMap::new(),
        };
        let address = player.url("-gateway")?;
        let outside = [Role::Gateway, Role::Control].map(|role| (role, address.clone()));
        let mut pipeline = self.pipeline(&brokers, Roles::outside(launching, outside.into()), binary, folder)?;
        // Each request asks the Service for a pod. One on a connection that is kept may meet its end: a gateway that drains closes those
        // on which nothing is under way, and what a client is just sending on one of them is lost to it.
        pipeline.http = Http::keeping_nothing();
        Ok((pipeline, player))
    }

    /// The chart's values of these settings, and others over them.
    fn values(&self, brokers: &str, more: &Value) -> anyhow::Result<Value> {
        let mut config: Value = serde_json::to_value(self.settings.without(&["security", "control.admin_key"]))
            .context("settings are JSON")?;
        let brokers_of_all =
            json!({ "kafka": { "brokers": brokers }, "topics": { "replication_factor": 1, "min_insync_replicas": 1 } });
        merge(&mut config, &brokers_of_all);
        // Where the pod's volume is: the binary's own default would be the same folder of this machine for every pod.
        merge(&mut config, &json!({ "control": { "log": { "folder": "/var/lib/hookbus/log" } } }));
        let mut values = json!({
            "image": { "repository": "images.invalid/hookbus" },
            "topics": { "allowSingleReplica": true },
            "keys": { "existingSecret": "hookbus-keys" },
            "control": { "existingSecret": "hookbus-admin" },
            "config": config,
        });
        merge(&mut values, more);
        Ok(values)
    }
}

fn own_secrets() -> Secrets {
    let secret = |name: &str, entries: &[(&str, &str)]| {
        (name.to_owned(), entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    [
        secret("hookbus-keys", &[("encryption-keys", &format!("k1:{KEY}")), ("lookup-key", KEY)]),
        secret("hookbus-admin", &[("admin-key", ADMIN_KEY)]),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_values_without_what_is_secret() {
        let setup = Setup::new("values").set("control.log.readers", 3).set("gateway.linger_ms", 0);
        let values = setup.values("kafka:9092", &json!({ "gateway": { "replicas": 3 } })).unwrap();
        let config = &values["config"];
        assert_eq!(
            (&config["kafka"]["brokers"], &config["control"]["log"]["readers"]),
            (&json!("kafka:9092"), &json!(3))
        );
        assert_eq!(values["gateway"], json!({ "replicas": 3 }));
        let text = values.to_string();
        assert!(!text.contains(ADMIN_KEY) && !text.contains(KEY), "{text}");
        assert!(own_secrets().values().flat_map(BTreeMap::values).any(|secret| secret == ADMIN_KEY));
    }
}
