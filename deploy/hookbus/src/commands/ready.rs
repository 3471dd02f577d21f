//! `hookbus ready`: asks the admin port of the process beside it, for the health check of an image that has no shell.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chassis::config::AdminConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::screen;

/// For the connection, and for each step of the question.
const WITHIN: Duration = Duration::from_secs(2);
/// More than the answer ever has.
const MAX_BYTES: u64 = 65_536;

/// Believes every certificate. It is this machine that is asked, nothing secret is said, and the certificate is made for the
/// names by which others call it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

/// Asks `/readyz` and prints what it says.
///
/// # Errors
/// The process is not ready, or does not answer.
pub(crate) fn run(admin: &AdminConfig) -> Result<()> {
    let address = beside(admin.listen);
    if admin.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()) {
        return Err(crate::usage(
            "admin.tls_client_ca lets in only who shows a certificate, and probes have none: leave it out",
        ));
    }
    let answer =
        ask(address, admin.tls.is_some()).with_context(|| format!("the admin port {address} (admin.listen)"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the admin port does not speak HTTP")?;
    let said = body.trim_end();
    if head.split(' ').nth(1) != Some("200") {
        bail!("{}", if said.is_empty() { head } else { said });
    }
    Ok(screen::line(said)?)
}

/// The address at which a process in the same container is asked.
fn beside(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(address: SocketAddr, speaks_tls: bool) -> Result<String> {
    let stream = TcpStream::connect_timeout(&address, WITHIN).context("cannot connect")?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    if speaks_tls {
        let session = ClientConnection::new(Arc::new(tls()?), ServerName::from(address.ip()))?;
        exchange(StreamOwned::new(session, stream), address)
    } else {
        exchange(stream, address)
    }
}

fn exchange(mut stream: impl Read + Write, address: SocketAddr) -> Result<String> {
    write!(stream, "GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").context("cannot ask")?;
    let mut answer = Vec::new();
    stream.take(MAX_BYTES).read_to_end(&mut answer).context("no answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn tls() -> Result<ClientConfig> {
    let provider = CryptoProvider::get_default().context("no TLS provider was installed")?;
    let verifier = Arc::new(AnyCertificate(Arc::clone(provider)));
    Ok(ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

// === impl AnyCertificate ===

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use chassis::admin::{self, AdminServer};
    use chassis::config::TlsFiles;
    use chassis::health::Health;
    use chassis::server::tls::{ListenerTls, Protocols};
    use prometheus::Registry;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn serve(health: &Health, tls: Option<TlsFiles>) -> (AdminServer, AdminConfig) {
        let listener = admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let loaded = tls.clone().map(|files| ListenerTls::load(files, Protocols::Http1).unwrap());
        let server = AdminServer::start(listener, loaded, Registry::new(), health.clone()).unwrap();
        let config = AdminConfig { listen: server.address(), tls };
        (server, config)
    }

    #[test]
    fn it_agrees_with_the_admin_port_and_says_what_is_missing() {
        let health = Health::new();
        let (server, config) = serve(&health, None);
        run(&config).unwrap();
        let latch = health.latch("catalog");
        assert_eq!(run(&config).unwrap_err().to_string(), "not ready: catalog");
        latch.release();
        run(&config).unwrap();
        let (address, asked) = (server.address(), config);
        drop(server);
        let error = format!("{:#}", run(&asked).unwrap_err());
        assert!(error.starts_with(&format!("the admin port {address} (admin.listen): cannot connect")), "{error}");
    }

    #[test]
    fn it_asks_over_tls_where_the_admin_port_speaks_it() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["hookbus.example".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&certificate, cert.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        let health = Health::new();
        let (_server, mut config) = serve(&health, Some(TlsFiles { certificate, key, client_ca: None }));
        run(&config).unwrap();
        let _latch = health.latch("partitions");
        assert_eq!(run(&config).unwrap_err().to_string(), "not ready: partitions");
        config.tls.as_mut().unwrap().client_ca = Some("ca.crt".into());
        assert!(run(&config).unwrap_err().is::<crate::Usage>());
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_this_machine() {
        for (listen, asked) in
            [("0.0.0.0:9090", "127.0.0.1:9090"), ("[::]:9090", "[::1]:9090"), ("10.1.2.3:1", "10.1.2.3:1")]
        {
            assert_eq!(beside(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
