//! A Kafka with users and permissions: a broker with one listener where everybody is an administrator, and one for users.
//!
//! And one with a listener of every kind, as clients find them at strangers' clusters.

mod listeners;

use std::path::Path;

use kafka_dev::{Broker, BrokerOptions, Proxied, ports};

pub use self::listeners::KindsOfListeners;
use crate::broker;

/// What a user may do that nobody has said anything about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsaid {
    /// Nothing.
    Refused,
    /// Whatever no rule speaks of.
    Allowed,
}

/// Starts the broker and says where its users connect.
///
/// # Errors
/// As [`kafka_dev::prepare`] and [`Broker::start`].
pub async fn start(folder: &Path, users: &[&str], unsaid: Unsaid) -> anyhow::Result<(Broker, String)> {
    start_for(folder, "PLAIN", &login(users), "User:ANONYMOUS", unsaid).await
}

/// The same for users whose passwords are given to Kafka itself, for SCRAM-SHA-512, after its start. One of them is an administrator.
///
/// # Errors
/// As [`start`].
pub async fn start_scram(folder: &Path, administrator: &str) -> anyhow::Result<(Broker, String)> {
    let login = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let administrators = format!("User:ANONYMOUS;User:{administrator}");
    start_for(folder, "SCRAM-SHA-512", login, &administrators, Unsaid::Refused).await
}

async fn start_for(
    folder: &Path,
    mechanism: &str,
    login: &str,
    administrators: &str,
    unsaid: Unsaid,
) -> anyhow::Result<(Broker, String)> {
    let jars = kafka_dev::prepare(&broker::cache(), |line| tracing::info!("{line}")).await?;
    let port = ports::choose()?;
    let login_of = format!("listener.name.proxied0.{}.sasl.jaas.config", mechanism.to_lowercase());
    let allowed = if unsaid == Unsaid::Allowed { "true" } else { "false" };
    let mut options = BrokerOptions::new(jars, folder.join("kafka"), folder.join("kafka.log"));
    options.quick = true;
    options.proxied = vec![Proxied { port, advertised: port }];
    options.properties = [
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED0:SASL_PLAINTEXT"),
        ("sasl.enabled.mechanisms", mechanism),
        (&login_of, login),
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("super.users", administrators),
        ("allow.everyone.if.no.acl.found", allowed),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    Ok((Broker::start(options).await?, format!("127.0.0.1:{port}")))
}

/// What makes a process of ours this user.
#[must_use]
pub fn user(name: &str, brokers: &str) -> Vec<(String, String)> {
    let property = |name: &str, value: &str| (format!("HOOKBUS__KAFKA__PROPERTIES__{name}"), value.to_owned());
    vec![
        ("HOOKBUS__KAFKA__BROKERS".to_owned(), brokers.to_owned()),
        property("SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        property("SASL_MECHANISM", "PLAIN"),
        property("SASL_USERNAME", name),
        property("SASL_PASSWORD", &password(name)),
    ]
}

/// The JAAS entry of a listener that knows these users.
fn login(users: &[&str]) -> String {
    let users: String = users.iter().map(|user| format!(" user_{user}=\"{}\"", password(user))).collect();
    format!("org.apache.kafka.common.security.plain.PlainLoginModule required{users};")
}

fn password(user: &str) -> String {
    format!("{user}-password")
}
