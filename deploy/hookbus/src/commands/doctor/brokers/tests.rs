//! Listeners that speak, or do not, as they were asked to.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What is found of this bootstrap list with these properties.
async fn found(brokers: &str, properties: &[(&str, &str)]) -> (Option<Code>, DoctorFindings) {
    let properties: BTreeMap<String, String> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let connection = Connection::new(brokers, &properties).unwrap();
    let mut findings = DoctorFindings::default();
    let seen = look(&connection, &Config::for_tests(), false, &mut findings).await.unwrap();
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

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Certificates have one name where none is given, and one that names itself as its issuer is nobody's.
    params.distinguished_name.push(DnType::CommonName, uuid::Uuid::new_v4().to_string());
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A listener with TLS that lets in whom its handshake lets in, and says nothing then.
async fn secured(params: CertificateParams, authority: &Authority, clients: Option<&Authority>) -> String {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap().der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = match clients {
        None => builder.unwrap().with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.unwrap().with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(chassis::tasks::spawn("secured", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            drop(chassis::tasks::spawn("session", async move {
                if let Ok(mut session) = acceptor.accept(stream).await {
                    let mut unheard = Vec::new();
                    session.read_to_end(&mut unheard).await.ok();
                }
            }));
        }
    }));
    address
}

fn of_names(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
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

/// Certificates, real ones, that librdkafka does not believe, or that it does not show.
#[tokio::test]
async fn what_is_wrong_with_certificates_is_tls() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let (known, unknown) = (authority(), authority());
    let ca = file("ca.crt", &known.pem());
    let trusting = [("security.protocol", "ssl"), ("ssl.ca.location", ca.as_str())];
    let here = || of_names(&["127.0.0.1"]);
    let mut ended = here();
    (ended.not_before, ended.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    let cases = [
        ("an authority that is not known", secured(here(), &unknown, None).await),
        ("a certificate that has ended", secured(ended, &known, None).await),
        ("a certificate of another name", secured(of_names(&["other.example"]), &known, None).await),
        ("a client without a certificate", secured(here(), &known, Some(&known)).await),
    ];
    for (what, address) in &cases {
        let (code, findings) = found(address, &trusting).await;
        assert_eq!(code, Some(Code::BrokerTls), "{what}: {findings:?}");
    }
    let key = KeyPair::generate().unwrap();
    let shown = file("tls.crt", &of_names(&["client"]).signed_by(&key, &unknown).unwrap().pem());
    let key = file("tls.key", &key.serialize_pem());
    let showing = [("ssl.certificate.location", shown.as_str()), ("ssl.key.location", key.as_str())];
    let (code, findings) = found(&cases[3].1, &[trusting, showing].concat()).await;
    assert_eq!(code, Some(Code::BrokerTls), "a stranger's certificate: {findings:?}");
    // What is believed and does not answer as Kafka is no fault of TLS.
    let (code, findings) = found(&secured(here(), &known, None).await, &trusting).await;
    assert_eq!(code, Some(Code::BrokerSilent), "{findings:?}");
}

#[tokio::test]
async fn a_listener_with_tls_is_told_to_who_asks_without_and_one_that_is_no_tls_to_nobody() {
    let address = secured(of_names(&["127.0.0.1"]), &authority(), None).await;
    let (code, findings) = found(&address, &[]).await;
    assert_eq!(code, Some(Code::BrokerTls), "{findings:?}");
    let http = stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let speech = listener::look("127.0.0.1", http.parse().unwrap(), true, STEP).await;
    assert_eq!(speech, ListenerSpeech::Unknown);
}
