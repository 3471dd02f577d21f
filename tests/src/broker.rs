//! Kafka for tests: the one broker a run shares, and brokers of a test's own for those that pause or kill it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use kafka_dev::{Broker, BrokerOptions, Proxied};

use crate::cluster::admin;
use crate::environment::{self, KAFKA, PROXIED};
use crate::proxy::Proxy;

/// The broker of this run, as `with-kafka` started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKafka {
    /// For clients that connect directly.
    pub bootstrap: String,
    /// Listeners to put a proxy before. A test owns one while its proxy holds the advertised port.
    pub proxied: Vec<Proxied>,
}

impl SharedKafka {
    /// Finds it in the environment.
    ///
    /// # Errors
    /// There is none; the message says how to run tests with one.
    pub fn of_this_run() -> anyhow::Result<Self> {
        let Some(bootstrap) = environment::variable(KAFKA) else {
            bail!("{KAFKA} is not set: run `make test`, or `cargo run -p testkit --bin with-kafka -- cargo test ...`");
        };
        let proxied = environment::variable(PROXIED).unwrap_or_default();
        let proxied = parse_proxied(&proxied).with_context(|| format!("{PROXIED}={proxied}"))?;
        Ok(Self { bootstrap, proxied })
    }

    /// Of a broker that was just started.
    #[must_use]
    pub fn of(broker: &Broker) -> Self {
        Self { bootstrap: broker.bootstrap(), proxied: broker.options().proxied.clone() }
    }

    /// What [`SharedKafka::of_this_run`] reads.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 2] {
        let pairs = self.proxied.iter().map(|listener| format!("{}:{}", listener.port, listener.advertised));
        [(KAFKA, self.bootstrap.clone()), (PROXIED, pairs.collect::<Vec<_>>().join(","))]
    }

    /// Sets one property of a topic. The broker goes by it a moment later.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn configure(&self, topic: &str, name: &str, value: &str) -> anyhow::Result<()> {
        let port = self.bootstrap.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        admin::configure(port.context("a bootstrap is host:port")?, topic, name, value).await
    }

    /// A proxy on the first listener that no other test holds.
    ///
    /// # Errors
    /// All are held.
    pub fn proxy(&self) -> anyhow::Result<Proxy> {
        let mut proxies = self.proxied.iter().filter_map(|listener| Proxy::start(*listener).ok());
        proxies.next().with_context(|| format!("all {} proxied listeners are held by other tests", self.proxied.len()))
    }
}

fn parse_proxied(text: &str) -> anyhow::Result<Vec<Proxied>> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (port, advertised) = pair.split_once(':').context("a pair is port:advertised")?;
            Ok(Proxied { port: port.parse()?, advertised: advertised.parse()? })
        })
        .collect()
}

/// Starts a broker with its data and log in a folder, and so many listeners to put proxies before.
///
/// # Errors
/// As [`kafka_dev::prepare`] and [`Broker::start`].
pub async fn start(folder: &Path, proxied: usize) -> anyhow::Result<Broker> {
    start_with(folder, proxied, &[]).await
}

/// The same with properties of the broker on top.
///
/// # Errors
/// As [`start`].
pub async fn start_with(folder: &Path, proxied: usize, properties: &[(&str, &str)]) -> anyhow::Result<Broker> {
    let jars = kafka_dev::prepare(&cache(), |line| tracing::info!("{line}")).await?;
    let mut options = BrokerOptions::new(jars, folder.join("kafka"), folder.join("kafka.log"));
    options.quick = true;
    options.proxied = vec![Proxied { port: 0, advertised: 0 }; proxied];
    options.properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(Broker::start(options).await?)
}

/// Where Kafka's jars are kept, the same folder `hookbus dev` uses.
#[must_use]
pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../var/cache")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_survive_the_environment() {
        let kafka = SharedKafka {
            bootstrap: "127.0.0.1:9092".into(),
            proxied: vec![Proxied { port: 1, advertised: 2 }, Proxied { port: 3, advertised: 4 }],
        };
        let [(_, bootstrap), (_, proxied)] = kafka.variables();
        assert_eq!(bootstrap, "127.0.0.1:9092");
        assert_eq!(parse_proxied(&proxied).unwrap(), kafka.proxied);
        assert_eq!(parse_proxied("").unwrap(), []);
        assert!(parse_proxied("1:x").is_err());
    }
}
