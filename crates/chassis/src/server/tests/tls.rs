//! TLS over real sockets: handshake, certificates of clients, and a renewal under load.

use std::io;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::tls::{CertificateLook, ListenerTlsError, Protocols};
use super::*;
use crate::admin::{self, AdminServer};
use crate::config::TlsFiles;
use crate::health::Health;

/// An authority that signs what a test needs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// Files of a listener.
struct Folder {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key of a host.
    fn signs(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A client that trusts it, and shows a certificate of another one's.
    fn client(&self, own: Option<(String, String)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

impl Folder {
    fn with(certificate: &(String, String)) -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap() };
        folder.write(certificate);
        folder
    }

    fn write(&self, (certificate, key): &(String, String)) {
        std::fs::write(self.path("tls.crt"), certificate).unwrap();
        std::fs::write(self.path("tls.key"), key).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self, client_ca: Option<&str>) -> TlsFiles {
        let client_ca = client_ca.map(|pem| {
            std::fs::write(self.path("ca.crt"), pem).unwrap();
            self.path("ca.crt")
        });
        TlsFiles { certificate: self.path("tls.crt"), key: self.path("tls.key"), client_ca }
    }
}

async fn session(running: &Running, client: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    client.connect(ServerName::try_from("hookbus.test").unwrap(), running.connect().await).await
}

async fn ask(session: &mut TlsStream<TcpStream>) -> io::Result<()> {
    session.write_all(&get("")).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n0") {
        if session.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn shown(session: &TlsStream<TcpStream>) -> Vec<u8> {
    session.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_listener_with_a_certificate_speaks_tls_and_nothing_else() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.signs("hookbus.test"));
    let running = start(limits(), Some(ListenerTls::load(folder.files(None), Protocols::Http1And2).unwrap())).await;
    let mut trusted = session(&running, &authority.client(None)).await.unwrap();
    ask(&mut trusted).await.unwrap();
    let stranger = session(&running, &Authority::new().client(None)).await;
    assert!(stranger.is_err(), "another authority's client sees that this is not its server");
    let plain = rest(running.sending(&get("")).await).await;
    assert!(!plain.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&plain));
    drop(trusted);
    running.end().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_closed_like_a_slow_head() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.signs("hookbus.test"));
    let tls = ListenerTls::load(folder.files(None), Protocols::Http1And2).unwrap();
    let running = start(ServerLimits { head: SHORT, ..limits() }, Some(tls)).await;
    rest(running.connect().await).await;
    assert_eq!(running.closed(Closed::Handshake), 1);
    // Who hangs up, as a balancer that only looks whether the port is open, was not closed by the listener.
    drop(running.connect().await);
    rest(running.sending(b"no TLS").await).await;
    assert_eq!(running.closed(Closed::Handshake), 2);
    running.end().await;
}

#[tokio::test]
async fn a_client_must_show_a_certificate_where_an_authority_of_clients_is_named() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let folder = Folder::with(&authority.signs("hookbus.test"));
    let running =
        start(limits(), Some(ListenerTls::load(folder.files(Some(&clients.pem)), Protocols::Http1And2).unwrap())).await;
    let known = authority.client(Some(clients.signs("client.test")));
    let mut welcome = session(&running, &known).await.unwrap();
    ask(&mut welcome).await.unwrap();
    for own in [None, Some(authority.signs("client.test"))] {
        // With TLS 1.3 the client has ended its part before it hears of the refusal.
        let refused = match session(&running, &authority.client(own)).await {
            Ok(mut session) => ask(&mut session).await,
            Err(error) => Err(error),
        };
        assert!(refused.is_err());
    }
    drop(welcome);
    running.end().await;
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load_and_no_request_is_lost() {
    let authority = Authority::new();
    let (first, second) = (authority.signs("hookbus.test"), authority.signs("hookbus.test"));
    let folder = Folder::with(&first);
    let tls = ListenerTls::load(folder.files(None), Protocols::Http1And2).unwrap();
    let running = Arc::new(start(limits(), Some(tls.clone())).await);
    let stop = CancellationToken::new();
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (running, client, stop) = (Arc::clone(&running), authority.client(None), stop.clone());
            tasks::spawn("load", async move {
                let mut kept = session(&running, &client).await.unwrap();
                let mut answers = 0;
                while !stop.is_cancelled() {
                    ask(&mut kept).await.unwrap();
                    ask(&mut session(&running, &client).await.unwrap()).await.unwrap();
                    answers += 2;
                }
                answers
            })
        })
        .collect();
    let client = authority.client(None);
    let before = shown(&session(&running, &client).await.unwrap());
    assert_eq!(tls.look().unwrap(), CertificateLook::Same);
    // Half of a renewal: the former pair goes on.
    std::fs::write(folder.path("tls.crt"), &second.0).unwrap();
    assert!(matches!(tls.look(), Err(ListenerTlsError::Unusable { .. })));
    assert_eq!(shown(&session(&running, &client).await.unwrap()), before);
    folder.write(&second);
    assert_eq!(tls.look().unwrap(), CertificateLook::Replaced);
    assert_ne!(shown(&session(&running, &client).await.unwrap()), before);
    stop.cancel();
    for task in load {
        assert!(task.await.unwrap() > 0, "every request was answered");
    }
    Arc::into_inner(running).unwrap().end().await;
}

#[tokio::test]
async fn the_admin_port_speaks_tls_too_and_ends_while_a_handshake_hangs() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.signs("hookbus.test"));
    let port = admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let tls = ListenerTls::load(folder.files(None), Protocols::Http1).unwrap();
    let server = AdminServer::start(port, Some(tls), Registry::new(), Health::new()).unwrap();
    let silent = TcpStream::connect(server.address()).await.unwrap();
    let socket = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("hookbus.test").unwrap();
    // As probes and scrapers do, which would speak HTTP/2 if they were let.
    let mut offers = ClientConfig::clone(authority.client(None).config());
    offers.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut probe = TlsConnector::from(Arc::new(offers)).connect(name, socket).await.unwrap();
    assert_eq!(probe.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    probe.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    probe.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive\n"), "{answer}");
    drop(server);
    assert!(rest(silent).await.is_empty());
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let folder = Folder::with(&authority.signs("hookbus.test"));
    let files = folder.files(None);
    let fails = |files: TlsFiles| ListenerTls::load(files, Protocols::Http1And2).unwrap_err().to_string();
    let absent = folder.path("absent");
    assert!(fails(TlsFiles { key: absent, ..files.clone() }).contains("absent"));
    let swapped = TlsFiles { certificate: files.key.clone(), key: files.certificate.clone(), client_ca: None };
    assert!(fails(swapped).contains("holds no certificate"));
    assert!(fails(TlsFiles { key: files.certificate.clone(), ..files.clone() }).contains("holds no private key"));
    std::fs::write(folder.path("tls.key"), authority.signs("hookbus.test").1).unwrap();
    assert!(fails(files).contains("cannot be used with its key"));
}
