//! Every broker of the bootstrap list, then every one that the cluster sends clients to: its name, its port, and then what
//! librdkafka, as every client of ours uses it, says of TLS, login and protocol. The first step that fails is the one that is told.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use chassis::config::Config;
use kafka::Connection;
use kafka::probe::{self, BrokerSeen, ProbeFailure};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::DoctorFindings;
use crate::codes::Code;

/// A name is found, or a connection made, within that.
const STEP: Duration = Duration::from_secs(5);
/// TLS, login and the first answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What librdkafka takes where no port is given.
const PORT: u16 = 9092;
/// Brokers that are looked at; of a larger cluster the others are left out.
const MAX_BROKERS: usize = 100;

/// Looks at all of them. Returns those of the cluster, as far as anybody told; none: nobody answers.
///
/// # Errors
/// No client can be made of the properties.
pub(super) async fn look(
    connection: &Connection,
    config: &Config,
    findings: &mut DoctorFindings,
) -> Result<Vec<BrokerSeen>> {
    let mut told = BTreeSet::new();
    let mut known = BTreeSet::new();
    for address in bootstrap(connection.brokers()) {
        let what = format!("bootstrap broker {}:{}", address.0, address.1);
        told.extend(look_at(connection, config, &what, &address, findings).await?);
        known.insert(address);
    }
    for broker in told.iter().take(MAX_BROKERS) {
        let address = (broker.host.clone(), broker.port);
        if known.insert(address.clone()) {
            let what = format!("advertised broker {} at {}:{}", broker.id, broker.host, broker.port);
            look_at(connection, config, &what, &address, findings).await?;
        }
    }
    Ok(told.into_iter().collect())
}

/// `host:port`, as librdkafka reads them.
fn bootstrap(brokers: &str) -> Vec<(String, u16)> {
    let listed = brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty());
    let listed = listed.map(|broker| broker.split_once("://").map_or(broker, |(_protocol, rest)| rest));
    listed
        .map(|broker| match broker.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (unbracketed(host), port.parse().unwrap_or(PORT))
            }
            _without_port => (unbracketed(broker), PORT),
        })
        .collect()
}

pub(super) fn unbracketed(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

async fn look_at(
    connection: &Connection,
    config: &Config,
    what: &str,
    (host, port): &(String, u16),
    findings: &mut DoctorFindings,
) -> Result<Vec<BrokerSeen>> {
    let addresses = match resolve(host, *port).await {
        Ok(addresses) => addresses,
        Err(reason) => {
            let remedy = "correct kafka.brokers, the name server, or advertised.listeners of the broker";
            findings.wrong(Code::BrokerName, what, format!("its name is not known here: {reason}"), remedy);
            return Ok(Vec::new());
        }
    };
    if let Err(reason) = connect(&addresses).await {
        let remedy = "start the broker, or open the way to it (firewall, network policy, port)";
        findings.wrong(Code::BrokerUnreachable, what, reason, remedy);
        return Ok(Vec::new());
    }
    let broker = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let topic = config.topics.topics().control.to_string();
    match probe::broker(connection, &broker, &topic, ANSWER).await? {
        Ok(seen) => {
            findings.well(what, format!("answers, and tells of {} brokers", seen.len()));
            return Ok(seen);
        }
        Err(ProbeFailure::Tls(reason)) => findings.wrong(
            Code::BrokerTls,
            what,
            reason,
            "give the authority that signed the broker's certificate (ssl.ca.location), or renew the certificate",
        ),
        Err(ProbeFailure::Login(reason)) => findings.wrong(
            Code::BrokerLogin,
            what,
            reason,
            "correct sasl.mechanism, sasl.username and sasl.password of [kafka.properties]",
        ),
        Err(ProbeFailure::Silent(reason)) => findings.wrong(
            Code::BrokerSilent,
            what,
            reason,
            "give the port of the right listener, and what it speaks as security.protocol",
        ),
    }
    Ok(Vec::new())
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match timeout(STEP, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() { Err("it has no address".to_owned()) } else { Ok(found) }
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err(format!("no name server answers within {} s", STEP.as_secs())),
    }
}

/// Whether one of the addresses takes a connection, as librdkafka tries them.
async fn connect(addresses: &[SocketAddr]) -> Result<(), String> {
    let mut reason = String::new();
    for address in addresses {
        reason = match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(_stream)) => return Ok(()),
            Ok(Err(error)) => format!("{address}: {error}"),
            Err(_elapsed) => format!("{address}: no answer within {} s: packets are dropped", STEP.as_secs()),
        };
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What is found of this bootstrap list with these properties.
    async fn found(brokers: &str, properties: &[(&str, &str)]) -> (Option<Code>, DoctorFindings) {
        let properties: BTreeMap<String, String> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let connection = Connection::new(brokers, &properties).unwrap();
        let mut findings = DoctorFindings::default();
        let seen = look(&connection, &Config::for_tests(), &mut findings).await.unwrap();
        assert!(seen.is_empty());
        (findings.first(), findings)
    }

    /// A listener that greets whoever comes with these bytes, and hangs up.
    async fn stranger(greeting: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(chassis::tasks::spawn("stranger", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(greeting).await.ok();
            }
        }));
        address
    }

    #[test]
    fn brokers_are_read_as_librdkafka_reads_them() {
        assert_eq!(
            bootstrap("a:1, SSL://b.example:9093,c,[::1]:7,"),
            [("a", 1), ("b.example", 9093), ("c", 9092), ("::1", 7)].map(|(host, port)| (host.to_owned(), port))
        );
    }

    #[tokio::test]
    async fn the_first_step_that_fails_is_named() {
        assert_eq!(found("no-such-broker.invalid:9092", &[]).await.0, Some(Code::BrokerName));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = closed.local_addr().unwrap().to_string();
        drop(closed);
        assert_eq!(found(&address, &[]).await.0, Some(Code::BrokerUnreachable));
    }

    #[tokio::test]
    async fn who_is_no_kafka_is_silent() {
        let http = stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let (code, findings) = found(&http, &[]).await;
        assert_eq!(code, Some(Code::BrokerSilent), "{findings:?}");
    }
}
