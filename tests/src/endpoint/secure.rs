//! An endpoint with TLS: its certificate, what it offers, and what it does to connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use chassis::clock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// An authority that nobody knows who is not given its certificate.
pub struct TestAuthority(CertifiedIssuer<'static, KeyPair>);

/// What an endpoint with TLS does.
#[derive(Clone, Debug)]
pub struct Secure {
    config: Arc<ServerConfig>,
    /// `MAX_CONCURRENT_STREAMS` of its HTTP/2.
    pub max_streams: Option<u32>,
    /// A connection of HTTP/2 ends with a GOAWAY after so many requests.
    pub goaway_after: Option<usize>,
    /// So many handshakes are answered, and none after them.
    pub handshakes: Option<usize>,
    begun: Arc<AtomicUsize>,
}

/// A certificate's flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has none.
    None,
    /// It ended in 2001.
    Expired,
    /// It is for another name.
    OtherName,
}

impl TestAuthority {
    /// One that was not there before.
    ///
    /// # Errors
    /// No randomness.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two of them have two names, as authorities do.
        params.distinguished_name.push(DnType::CommonName, uuid::Uuid::new_v4().to_string());
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate, as `delivery.ca_file` takes it.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of this authority for these names and addresses, and its key, as PEM.
    ///
    /// # Errors
    /// A certificate that cannot be made.
    pub fn issue(&self, names: &[&str]) -> anyhow::Result<(String, String)> {
        self.sign(&CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?)
    }

    /// The same that is an old one and ends so long from now.
    ///
    /// # Errors
    /// A certificate that cannot be made.
    pub fn issue_ending(&self, names: &[&str], within: Duration) -> anyhow::Result<(String, String)> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        let now = Duration::from_millis(u64::try_from(clock::now_ms())?);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = (UNIX_EPOCH + now + within).into();
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> anyhow::Result<(String, String)> {
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.0)?.pem(), key.serialize_pem()))
    }

    /// An endpoint of this authority on `localhost` and 127.0.0.1 that offers these protocols (`h2`, `http/1.1`).
    ///
    /// # Errors
    /// A certificate that cannot be made.
    pub fn secure(&self, protocols: &[&str], flaw: Flaw) -> anyhow::Result<Secure> {
        let names = if flaw == Flaw::OtherName { vec!["other.example"] } else { vec!["localhost", "127.0.0.1"] };
        let mut params = CertificateParams::new(names.into_iter().map(str::to_owned).collect::<Vec<_>>())?;
        if flaw == Flaw::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let config = Arc::new(config);
        Ok(Secure { config, max_streams: None, goaway_after: None, handshakes: None, begun: Arc::default() })
    }
}

impl Secure {
    /// Answers handshakes.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Whether one more handshake is answered.
    pub(crate) fn answers(&self) -> bool {
        let begun = self.begun.fetch_add(1, Ordering::SeqCst);
        self.handshakes.is_none_or(|handshakes| begun < handshakes)
    }

    /// Handshakes so far, those that are not answered included.
    #[must_use]
    pub fn handshakes_begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for TestAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestAuthority")
    }
}
