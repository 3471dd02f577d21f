//! Every broker of the bootstrap list, then every one that the cluster sends clients to: its name, its port, whether it speaks TLS as
//! we do, and then what librdkafka, as every client of ours uses it, says of TLS, login and protocol. The first step that fails is
//! the one that is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use chassis::config::Config;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kafka::Connection;
use kafka::probe::{self, BrokerSeen, ProbeFailure};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::certificate;
use super::finding::DoctorFindings;
use super::listener::{self, ListenerSpeech};
use crate::codes::Code;

/// A name is found, a connection made, or a first question answered, within that.
const STEP: Duration = Duration::from_secs(5);
/// TLS, login and the first answer.
const ANSWER: Duration = Duration::from_secs(10);
/// What librdkafka takes where no port is given.
const PORT: u16 = 9092;
/// Brokers that are looked at; of a larger cluster the others are left out.
const MAX_BROKERS: usize = 100;
/// Brokers that are looked at beside each other.
const AT_ONCE: usize = 8;

/// How they are looked at.
#[derive(Clone, Copy)]
struct BrokersLook<'a> {
    connection: &'a Connection,
    config: &'a Config,
    /// Whether a certificate that ends soon is a fault.
    counts_days: bool,
}

/// Looks at all of them. Returns those of the cluster, as far as anybody told; none: no broker answers that clients are sent to. Before topics are created a
/// certificate that ends soon is no fault, nor is a broker that is away while others answer: an upgrade need not wait for them.
///
/// # Errors
/// No client can be made of the properties.
pub(super) async fn look(
    connection: &Connection,
    config: &Config,
    is_before: bool,
    findings: &mut DoctorFindings,
) -> Result<Vec<BrokerSeen>> {
    let looking = BrokersLook { connection, config, counts_days: !is_before };
    if looking.counts_days {
        certificate::of_client(config, findings);
    }
    let mut told = BTreeSet::new();
    // Whether each of them answers.
    let mut known = BTreeMap::new();
    let named = bootstrap(connection.brokers()).into_iter();
    let named = named.map(|address| (format!("bootstrap broker {}:{}", address.0, address.1), address));
    for (address, seen) in look_at_all(looking, named.collect(), findings).await? {
        known.insert(address, !seen.is_empty());
        told.extend(seen);
    }
    let mut answers = told.len() > MAX_BROKERS;
    let advertised = told.iter().take(MAX_BROKERS);
    let unknown: BTreeMap<(String, u16), String> = advertised
        .map(|broker| {
            let what = format!("advertised broker {} at {}:{}", broker.id, broker.host, broker.port);
            ((broker.host.clone(), broker.port), what)
        })
        .filter(|(address, _what)| !known.contains_key(address))
        .collect();
    let unknown = unknown.into_iter().map(|(address, what)| (what, address));
    for (address, seen) in look_at_all(looking, unknown.collect(), findings).await? {
        known.insert(address, !seen.is_empty());
    }
    for broker in told.iter().take(MAX_BROKERS) {
        answers |= known.get(&(broker.host.clone(), broker.port)).is_some_and(|answers| *answers);
    }
    if is_before && answers {
        // An upgrade may be what mends the weather: with one broker away, topics are looked at through the others.
        findings.excuse(Code::BrokerUnreachable);
    }
    Ok(if answers { told.into_iter().collect() } else { Vec::new() })
}

/// Looks at some of them at once: each that is silent takes its time. What is found stands in their order.
async fn look_at_all(
    looking: BrokersLook<'_>,
    brokers: Vec<(String, (String, u16))>,
    findings: &mut DoctorFindings,
) -> Result<Vec<((String, u16), Vec<BrokerSeen>)>> {
    let looks = brokers.into_iter().map(async |(what, address)| {
        let mut found = DoctorFindings::default();
        let seen = look_at(looking, &what, &address, &mut found).await?;
        anyhow::Ok((address, seen, found))
    });
    let looks: Vec<_> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let told = looks.into_iter().map(|(address, seen, found)| {
        findings.append(found);
        (address, seen)
    });
    Ok(told.collect())
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
    looking: BrokersLook<'_>,
    what: &str,
    (host, port): &(String, u16),
    findings: &mut DoctorFindings,
) -> Result<Vec<BrokerSeen>> {
    let BrokersLook { connection, config, counts_days } = looking;
    let addresses = match resolve(host, *port).await {
        Ok(addresses) => addresses,
        Err(reason) => {
            let remedy = "correct kafka.brokers, the name server, or advertised.listeners of the broker";
            findings.wrong(Code::BrokerName, what, format!("its name is not known here: {reason}"), remedy);
            return Ok(Vec::new());
        }
    };
    let address = match connect(&addresses).await {
        Ok(address) => address,
        Err(reason) => {
            let remedy = "start the broker, or open the way to it (firewall, network policy, port)";
            findings.wrong(Code::BrokerUnreachable, what, reason, remedy);
            return Ok(Vec::new());
        }
    };
    let speech = listener::look(host, address, connection.uses_tls(), STEP).await;
    if let Some(reason) = speech.misfit(connection.uses_tls()) {
        let remedy = "set security.protocol to what the listener speaks, or give the port of the other listener";
        findings.wrong(Code::BrokerTls, what, reason, remedy);
        return Ok(Vec::new());
    }
    let broker = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let topic = config.topics.topics().control.to_string();
    match probe::broker(connection, &broker, &topic, ANSWER).await? {
        Ok(seen) => {
            findings.well(what, format!("answers, and tells of {} brokers", seen.len()));
            if let Some(shown) = speech.shown().filter(|shown| counts_days && !shown.chain.is_empty()) {
                certificate::told(Code::BrokerTls, &format!("certificate of {what}"), &shown.chain, findings);
            }
            Ok(seen)
        }
        Err(failure) => {
            failed(what, failure, &speech, findings);
            Ok(Vec::new())
        }
    }
}

fn failed(what: &str, failure: ProbeFailure, speech: &ListenerSpeech, findings: &mut DoctorFindings) {
    let (code, reason, remedy) = match failure {
        ProbeFailure::Tls(reason) => (
            Code::BrokerTls,
            reason,
            "give the authority that signed the broker's certificate (ssl.ca.location), or renew the certificate",
        ),
        ProbeFailure::Login(reason) => {
            (Code::BrokerLogin, reason, "correct sasl.mechanism, sasl.username and sasl.password of [kafka.properties]")
        }
        // With TLS 1.3 a listener refuses a client only when that one believes the handshake to be over.
        ProbeFailure::Silent(reason) if speech.shown().is_some_and(|shown| shown.asks) => (
            Code::BrokerTls,
            format!("it asks for a client's certificate and lets in who shows one that it knows: {reason}"),
            "give a certificate of an authority that the brokers know: ssl.certificate.location, ssl.key.location",
        ),
        ProbeFailure::Silent(reason) => {
            (Code::BrokerSilent, reason, "give the port of the right listener, and what it speaks as security.protocol")
        }
    };
    findings.wrong(code, what, reason, remedy);
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

/// The first of the addresses that takes a connection, as librdkafka tries them.
async fn connect(addresses: &[SocketAddr]) -> Result<SocketAddr, String> {
    let mut reason = String::new();
    for address in addresses {
        reason = match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(_stream)) => return Ok(*address),
            Ok(Err(error)) => format!("{address}: {error}"),
            Err(_elapsed) => format!("{address}: no answer within {} s: packets are dropped", STEP.as_secs()),
        };
    }
    Err(reason)
}

#[cfg(test)]
mod tests;
