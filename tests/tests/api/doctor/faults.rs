//! The faults that stand outside of Kafka's records, one each: what is set wrong, and the code that is to come first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::tasks;
use testkit::MovedClock;
use testkit::endpoint::TestAuthority;
use testkit::strict::{KindsOfListeners, user};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// What the broker has that a role may ask too much of.
pub(super) const OF_THE_BROKER: &[(&str, &str)] = &[("group.max.session.timeout.ms", "200000")];
const TWO_DAYS: Duration = Duration::from_secs(2 * 86_400);

/// One fault.
pub(super) struct DoctorFault {
    pub(super) what: &'static str,
    /// What comes first.
    pub(super) code: &'static str,
    /// What is wrong, over a configuration that is well.
    pub(super) environment: Vec<(String, String)>,
    pub(super) arguments: Vec<&'static str>,
}

/// Certificates of clients, and whom clients trust.
pub(super) struct Files {
    folder: PathBuf,
}

// === impl Files ===

impl Files {
    pub(super) fn new(folder: &Path, kafka: &KindsOfListeners) -> anyhow::Result<Self> {
        let (files, strangers) = (Self { folder: folder.to_owned() }, TestAuthority::new()?);
        files.write("ca.crt", &kafka.authority.pem())?;
        files.write("strangers-ca.crt", &strangers.pem())?;
        let pairs = [
            ("client", kafka.authority.issue(&["client"])?),
            ("stranger", strangers.issue(&["client"])?),
            ("ending", kafka.authority.issue_ending(&["client"], TWO_DAYS)?),
        ];
        for (name, (certificate, key)) in pairs {
            files.write(&format!("{name}.crt"), &certificate)?;
            files.write(&format!("{name}.key"), &key)?;
        }
        Ok(files)
    }

    /// Speaks TLS there and believes the authority of the brokers.
    pub(super) fn trusting(&self, brokers: &str) -> Vec<(String, String)> {
        self.believing(brokers, "ca.crt")
    }

    /// The same, as this client.
    pub(super) fn showing(&self, brokers: &str, client: &str) -> Vec<(String, String)> {
        let mut all = self.trusting(brokers);
        all.push(property("SSL_CERTIFICATE_LOCATION", &self.path(&format!("{client}.crt"))));
        all.push(property("SSL_KEY_LOCATION", &self.path(&format!("{client}.key"))));
        all
    }

    fn believing(&self, brokers: &str, authority: &str) -> Vec<(String, String)> {
        let mut all = tls(brokers);
        all.push(property("SSL_CA_LOCATION", &self.path(authority)));
        all
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<()> {
        std::fs::write(self.folder.join(name), text)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// A server that is no Kafka: it greets whoever comes as HTTP does, and hangs up.
pub(super) async fn stranger() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(tasks::spawn("stranger", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    }));
    address
}

/// All of them.
pub(super) fn all(kafka: &KindsOfListeners, files: &Files, clock: &MovedClock, stranger: &str) -> Vec<DoctorFault> {
    let mut all = of_the_configuration();
    all.extend(of_the_way(kafka, stranger));
    all.extend(of_certificates(kafka, files));
    all.extend(of_logins_and_hosts(kafka, clock));
    all
}

fn of_the_configuration() -> Vec<DoctorFault> {
    let one = |code, what, name: &str, value: &str| fault(code, what, vec![variable(name, value)]);
    vec![
        one("HB-001", "a value that is no number", "KAFKA__SESSION_TIMEOUT_MS", "soon"),
        one("HB-003", "a lookup key that is none", "SECURITY__LOOKUP_KEY", "short"),
        one("HB-005", "a property that correctness depends on", "KAFKA__PROPERTIES__ACKS", "1"),
        one("HB-015", "topics of another prefix", "TOPICS__PREFIX", "nowhere."),
        one("HB-016", "another number of partitions", "TOPICS__PARTITIONS__EVENTS", "3"),
        one("HB-016", "the same before topics are made", "TOPICS__PARTITIONS__EVENTS", "3").asked(&["--for-topics"]),
        one("HB-017", "more replicas than brokers", "TOPICS__REPLICATION_FACTOR", "3"),
        one("HB-017", "a session that brokers cut", "KAFKA__SESSION_TIMEOUT_MS", "300000"),
        fault("HB-037", "a target in a private network", Vec::new()).asked(&["--target", "https://10.0.0.1/hooks"]),
    ]
}

fn of_the_way(kafka: &KindsOfListeners, stranger: &str) -> Vec<DoctorFault> {
    let at = |code, what, place: &str| fault(code, what, vec![brokers(place)]);
    vec![
        at("HB-010", "a bootstrap name that nobody knows", "no-such-broker.invalid:9092"),
        at("HB-010", "an advertised name that nobody knows", &kafka.nameless),
        at("HB-011", "a port where nobody listens", "127.0.0.1:1"),
        at("HB-011", "an advertised port where nobody listens", &kafka.moved),
        at("HB-018", "a web server", stranger),
        at("HB-018", "a listener that wants a login, and none is given", &kafka.users),
    ]
}

fn of_certificates(kafka: &KindsOfListeners, files: &Files) -> Vec<DoctorFault> {
    let tls_fault = |what, environment| fault("HB-012", what, environment);
    let (_, port) = kafka.tls.rsplit_once(':').unwrap();
    vec![
        tls_fault("TLS to a listener without", files.trusting(&kafka.broker.bootstrap())),
        tls_fault("no TLS to a listener with", vec![brokers(&kafka.tls)]),
        tls_fault("an authority that is not believed", files.believing(&kafka.tls, "strangers-ca.crt")),
        tls_fault("a certificate of another name", files.trusting(&format!("localhost:{port}"))),
        tls_fault("a client without a certificate", files.trusting(&kafka.mutual)),
        tls_fault("a client with a stranger's certificate", files.showing(&kafka.mutual, "stranger")),
        tls_fault("a broker's certificate that ends soon", files.trusting(&kafka.ending)),
        tls_fault("a certificate of ours that ends soon", files.showing(&kafka.mutual, "ending")),
    ]
}

fn of_logins_and_hosts(kafka: &KindsOfListeners, clock: &MovedClock) -> Vec<DoctorFault> {
    let somebody = |change: Option<(&str, &str)>| {
        let mut all = user("somebody", &kafka.users);
        all.extend(change.map(|(name, value)| property(name, value)));
        all
    };
    let memory = vec![variable("CONTROL__INSTANCE_BYTES", "1099511627776")];
    vec![
        fault("HB-013", "a wrong password", somebody(Some(("SASL_PASSWORD", "wrong")))),
        fault("HB-013", "a mechanism that brokers do not have", somebody(Some(("SASL_MECHANISM", "SCRAM-SHA-256")))),
        fault("HB-014", "a user without rights", somebody(None)).asked(&["--role", "delivery"]),
        fault("HB-033", "a clock that is minutes ahead", clock.variables()),
        fault("HB-036", "less memory than objects may take", memory).asked(&["--role", "fanout"]),
    ]
}

fn fault(code: &'static str, what: &'static str, environment: Vec<(String, String)>) -> DoctorFault {
    DoctorFault { what, code, environment, arguments: Vec::new() }
}

fn tls(place: &str) -> Vec<(String, String)> {
    vec![brokers(place), property("SECURITY_PROTOCOL", "SSL")]
}

fn brokers(place: &str) -> (String, String) {
    variable("KAFKA__BROKERS", place)
}

fn property(name: &str, value: &str) -> (String, String) {
    variable(&format!("KAFKA__PROPERTIES__{name}"), value)
}

fn variable(name: &str, value: &str) -> (String, String) {
    (format!("HOOKBUS__{name}"), value.to_owned())
}

// === impl DoctorFault ===

impl DoctorFault {
    fn asked(mut self, arguments: &[&'static str]) -> Self {
        self.arguments = arguments.to_vec();
        self
    }
}
