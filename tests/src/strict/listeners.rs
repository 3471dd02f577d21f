//! A broker with a listener of every kind: for whoever has to say what is wrong with a way to Kafka.
//!
//! ```text
//! plain     everybody is an administrator; what it advertises is itself
//! users     SASL PLAIN without TLS: users with no rights
//! tls       TLS, a certificate of the authority for 127.0.0.1; everybody is an administrator
//! mutual    the same, for clients with a certificate of the authority alone; they are administrators
//! ending    the same as tls; its certificate ends in two days
//! moved     without TLS; it advertises a port where nobody listens
//! nameless  without TLS; it advertises a name that nobody knows
//! ```

use std::path::Path;
use std::time::Duration;

use kafka_dev::{Broker, BrokerOptions, Proxied, ports};

use super::login;
use crate::broker;
use crate::endpoint::TestAuthority;

/// Where TLS is spoken; the certificates are for this address alone.
const HERE: &str = "127.0.0.1";
/// How long the certificate of `ending` holds.
const ENDING: Duration = Duration::from_secs(2 * 86_400);
/// The subject of every certificate that is made here.
const SUBJECT: &str = "User:CN=rcgen self signed cert";

/// A broker with these listeners, and what they sign with. Dropping it kills the broker.
#[derive(Debug)]
pub struct KindsOfListeners {
    /// Whose certificates the listeners have, and trust.
    pub authority: TestAuthority,
    /// Itself.
    pub broker: Broker,
    /// `host:port` of each but the first.
    pub users: String,
    /// See above.
    pub tls: String,
    /// See above.
    pub mutual: String,
    /// See above.
    pub ending: String,
    /// See above.
    pub moved: String,
    /// See above.
    pub nameless: String,
}

impl KindsOfListeners {
    /// Starts it in a folder, with these users and properties of the broker on top.
    ///
    /// # Errors
    /// As [`kafka_dev::prepare`] and [`Broker::start`].
    pub async fn start(folder: &Path, users: &[&str], properties: &[(&str, &str)]) -> anyhow::Result<Self> {
        let authority = TestAuthority::new()?;
        let jars = kafka_dev::prepare(&broker::cache(), |line| tracing::info!("{line}")).await?;
        let mut options = BrokerOptions::new(jars, folder.join("kafka"), folder.join("kafka.log"));
        options.quick = true;
        options.port = ports::choose()?;
        let mut own = Vec::new();
        for _listener in 0..6 {
            let port = ports::choose()?;
            options.proxied.push(Proxied { port, advertised: port });
            own.push(port);
        }
        let mut advertised = format!("PLAINTEXT://{HERE}:{}", options.port);
        for (index, port) in own.iter().enumerate() {
            let place = match index {
                4 => format!("{HERE}:{}", ports::choose()?),
                5 => format!("no-such-broker.invalid:{port}"),
                _ => format!("{HERE}:{port}"),
            };
            advertised.push_str(&format!(",PROXIED{index}://{place}"));
        }
        let protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED0:SASL_PLAINTEXT,PROXIED1:SSL,PROXIED2:SSL,\
                         PROXIED3:SSL,PROXIED4:PLAINTEXT,PROXIED5:PLAINTEXT";
        let (login, administrators) = (login(users), format!("User:ANONYMOUS;{SUBJECT}"));
        let given = [
            ("listener.security.protocol.map", protocols),
            ("advertised.listeners", &advertised),
            ("sasl.enabled.mechanisms", "PLAIN"),
            ("listener.name.proxied0.plain.sasl.jaas.config", &login),
            ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
            ("super.users", &administrators),
        ];
        let given = given.into_iter().chain(properties.iter().copied());
        options.properties = given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let trusted = folder.join("trusted.pem");
        std::fs::write(&trusted, authority.pem())?;
        for listener in 1..=3 {
            let (certificate, key) =
                if listener == 3 { authority.issue_ending(&[HERE], ENDING)? } else { authority.issue(&[HERE])? };
            let store = folder.join(format!("listener-{listener}.pem"));
            std::fs::write(&store, key + &certificate)?;
            let mut set = |name: &str, value: &str| {
                options.properties.push((format!("listener.name.proxied{listener}.ssl.{name}"), value.to_owned()));
            };
            set("keystore.type", "PEM");
            set("keystore.location", &store.to_string_lossy());
            if listener == 2 {
                set("client.auth", "required");
                set("truststore.type", "PEM");
                set("truststore.location", &trusted.to_string_lossy());
            }
        }
        let broker = Broker::start(options).await?;
        let [users, tls, mutual, ending, moved, nameless] =
            [0, 1, 2, 3, 4, 5].map(|index| format!("{HERE}:{}", own[index]));
        Ok(Self { authority, broker, users, tls, mutual, ending, moved, nameless })
    }
}
