//! What a broker is started with, and the `server.properties` that follows from it.

use std::path::PathBuf;
use std::time::Duration;

use crate::jars::Jars;
use crate::{KafkaDevError, ports};

const TEMPLATE: &str = include_str!("../server.properties");
const CLUSTER: &str = include_str!("../cluster.properties");

/// A further listener whose clients come through something in between: the broker listens on `port` and tells clients
/// to talk to `advertised`, where a proxy forwards to `port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// Where the broker listens; 0 chooses.
    pub port: u16,
    /// What it tells its clients; 0 chooses.
    pub advertised: u16,
}

/// A node's place in a cluster of three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id, from 1.
    pub node: u16,
    /// Where the controllers of nodes 1, 2, 3 listen on 127.0.0.1, its own among them.
    pub controllers: Vec<u16>,
}

/// What a broker is started with.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Kafka itself.
    pub jars: Jars,
    /// Storage and `server.properties`. Formatted once; what is there is kept.
    pub data_dir: PathBuf,
    /// The broker's output is appended here.
    pub log_file: PathBuf,
    /// Where clients connect on 127.0.0.1; 0 chooses.
    pub port: u16,
    /// Where the controller listens on 127.0.0.1; 0 chooses, unless it is a member's.
    pub controller_port: u16,
    /// Which node of a cluster it is; `None`: it is alone.
    pub member: Option<Member>,
    /// Listeners for clients that come through a proxy.
    pub proxied: Vec<Proxied>,
    /// The Java heap, in MiB. Resident is about 200 more.
    pub heap_mib: u32,
    /// Compile quickly rather than well: starts sooner and leaves the cores to the tests. Not for measurements.
    pub quick: bool,
    /// Broker properties on top of ours; the last one wins.
    pub properties: Vec<(String, String)>,
    /// How long it may take to serve.
    pub ready_within: Duration,
}

impl BrokerOptions {
    /// Chosen ports, no proxied listener, 768 MiB, 60 s to come up.
    #[must_use]
    pub fn new(jars: Jars, data_dir: impl Into<PathBuf>, log_file: impl Into<PathBuf>) -> Self {
        Self {
            jars,
            data_dir: data_dir.into(),
            log_file: log_file.into(),
            port: 0,
            controller_port: 0,
            member: None,
            proxied: Vec::new(),
            heap_mib: 768,
            quick: false,
            properties: Vec::new(),
            ready_within: Duration::from_secs(60),
        }
    }

    /// Puts a free port wherever there is a 0, so that a restart meets its clients where they look for it.
    pub(crate) fn choose_ports(&mut self) -> Result<(), KafkaDevError> {
        let proxied = self.proxied.iter_mut().flat_map(|listener| [&mut listener.port, &mut listener.advertised]);
        for port in [&mut self.port, &mut self.controller_port].into_iter().chain(proxied) {
            if *port == 0 {
                *port = ports::choose()?;
            }
        }
        Ok(())
    }

    /// Where Kafka keeps its logs.
    pub(crate) fn storage(&self) -> PathBuf {
        self.data_dir.join("storage")
    }

    /// Where `server.properties` goes.
    pub(crate) fn properties_file(&self) -> PathBuf {
        self.data_dir.join("server.properties")
    }

    /// Its id in the quorum.
    fn node(&self) -> u16 {
        self.member.as_ref().map_or(1, |member| member.node)
    }

    /// Every controller of the quorum, as Kafka wants them.
    fn voters(&self) -> String {
        let alone = [self.controller_port];
        let controllers = self.member.as_ref().map_or(&alone[..], |member| &member.controllers);
        let voters = controllers.iter().zip(1..).map(|(port, node)| format!("{node}@127.0.0.1:{port}"));
        voters.collect::<Vec<_>>().join(",")
    }

    /// The text of `server.properties`; ports must have been chosen.
    pub(crate) fn render(&self) -> String {
        let mut listeners = format!("PLAINTEXT://127.0.0.1:{}", self.port);
        let mut advertised = listeners.clone();
        let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        let mut threads = String::new();
        for (index, listener) in self.proxied.iter().enumerate() {
            listeners.push_str(&format!(",PROXIED{index}://127.0.0.1:{}", listener.port));
            advertised.push_str(&format!(",PROXIED{index}://127.0.0.1:{}", listener.advertised));
            protocols.push_str(&format!(",PROXIED{index}:PLAINTEXT"));
            threads.push_str(&format!("listener.name.proxied{index}.num.network.threads=1\n"));
        }
        listeners.push_str(&format!(",CONTROLLER://127.0.0.1:{}", self.controller_port));
        let mut text = TEMPLATE
            .replace("{node}", &self.node().to_string())
            .replace("{voters}", &self.voters())
            .replace("{listeners}", &listeners)
            .replace("{advertised_listeners}", &advertised)
            .replace("{protocol_map}", &protocols)
            .replace("{data_dir}", &self.storage().to_string_lossy());
        text.push_str(&threads);
        if self.member.is_some() {
            text.push_str(CLUSTER);
        }
        for (name, value) in &self.properties {
            text.push_str(&format!("{name}={value}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_brace_is_filled_and_only_loopback_is_listened_on() {
        let mut options = BrokerOptions::new(Jars::in_folder("jars".into()), "data", "log");
        options.proxied = vec![Proxied { port: 0, advertised: 0 }; 2];
        options.properties.push(("message.max.bytes".into(), "5".into()));
        options.choose_ports().unwrap();
        let text = options.render();
        let settings: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(settings.iter().all(|line| !line.contains('{')), "{text}");
        let listeners = settings.iter().find_map(|line| line.strip_prefix("listeners=")).unwrap();
        assert_eq!(listeners.split(',').count(), 4);
        assert!(listeners.split(',').all(|listener| listener.contains("://127.0.0.1:")), "{listeners}");
        let advertised = format!("PROXIED1://127.0.0.1:{}", options.proxied[1].advertised);
        assert!(text.contains(&advertised) && !listeners.contains(&advertised));
        assert!(text.ends_with("message.max.bytes=5\n"));
    }

    #[test]
    fn a_member_knows_every_controller_and_keeps_its_records_three_times() {
        let mut options = BrokerOptions::new(Jars::in_folder("jars".into()), "data", "log");
        options.controller_port = 5002;
        options.member = Some(Member { node: 2, controllers: vec![5001, 5002, 5003] });
        let text = options.render();
        let last = |key: &str| text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).next_back();
        assert_eq!(last("node.id"), Some("2"));
        assert_eq!(last("controller.quorum.voters"), Some("1@127.0.0.1:5001,2@127.0.0.1:5002,3@127.0.0.1:5003"));
        assert_eq!(last("transaction.state.log.replication.factor"), Some("3"));
        assert_eq!(last("controlled.shutdown.enable"), Some("true"));
        options.member = None;
        assert!(options.render().contains("controller.quorum.voters=1@127.0.0.1:5002\n"));
    }

    #[test]
    fn ports_that_were_given_are_kept() {
        let mut options = BrokerOptions::new(Jars::in_folder("jars".into()), "data", "log");
        options.port = 9092;
        options.choose_ports().unwrap();
        assert_eq!(options.port, 9092);
        assert_ne!(options.controller_port, 0);
    }
}
