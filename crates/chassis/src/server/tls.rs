//! TLS of a listener: certificate and key from files, which may change while it serves.
//!
//! Whoever renews certificates (cert-manager, an ACME client) writes the files anew and tells nobody. So they are read again
//! now and then, and when their content is another one, new handshakes use it. Connections keep the session they have, so
//! none is dropped. Files that do not fit together are half of a renewal: the former ones stay in use, and a line says so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

use crate::clock;
use crate::config::TlsFiles;

/// A handshake's outcome: encrypted bytes in both directions.
pub type ListenerSession = tokio_rustls::server::TlsStream<TcpStream>;

/// How often the files are looked at. Secrets that Kubernetes mounts change within a minute or so of their renewal.
const LOOK_PERIOD: Duration = Duration::from_secs(10);
/// What is wrong with the files is said again after that.
const REMIND: Duration = Duration::from_secs(600);

/// The TLS of a listener. Clones are the same.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    inner: Arc<TlsInner>,
}

#[derive(Debug)]
struct TlsInner {
    files: TlsFiles,
    protocols: Protocols,
    now: RwLock<InUse>,
}

/// What handshakes use, and the bytes it was made of.
#[derive(Debug)]
struct InUse {
    config: Arc<ServerConfig>,
    bytes: FileBytes,
}

/// The content of the files.
#[derive(Clone, PartialEq, Eq)]
struct FileBytes {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Why a listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum ListenerTlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {expected} in PEM form", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// Certificate and key do not belong together, or use what rustls does not speak.
    #[error("{} cannot be used with its key", path.display())]
    Unusable {
        /// The certificate.
        path: PathBuf,
        /// What rustls said.
        #[source]
        source: rustls::Error,
    },
    /// The authorities of clients cannot be used.
    #[error("{} cannot be used as the authorities of clients: {reason}", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.1 alone: the admin port.
    Http1,
    /// HTTP/2 for peers that can.
    Http1And2,
}

/// Whether the files changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateLook {
    /// They are the ones in use.
    Same,
    /// New handshakes use what they hold now.
    Replaced,
}

/// What was last said of files that cannot be used.
#[derive(Debug, Default)]
struct Complaint {
    said: Option<(String, Instant)>,
}

// === impl ListenerTls ===

impl ListenerTls {
    /// Reads the files, for a listener that speaks these protocols. Peers choose among them (ALPN), so it names no other.
    ///
    /// # Errors
    /// They cannot be read, or not be used.
    pub fn load(files: TlsFiles, protocols: Protocols) -> Result<Self, ListenerTlsError> {
        let bytes = FileBytes::read(&files)?;
        let config = bytes.config(&files, protocols)?;
        Ok(Self { inner: Arc::new(TlsInner { files, protocols, now: RwLock::new(InUse { config, bytes }) }) })
    }

    /// Reads the files again and uses them from now on if they are others.
    ///
    /// # Errors
    /// As [`ListenerTls::load`]; what was in use stays in use.
    pub fn look(&self) -> Result<CertificateLook, ListenerTlsError> {
        let bytes = FileBytes::read(&self.inner.files)?;
        if self.inner.now.read().bytes == bytes {
            return Ok(CertificateLook::Same);
        }
        let config = bytes.config(&self.inner.files, self.inner.protocols)?;
        *self.inner.now.write() = InUse { config, bytes };
        Ok(CertificateLook::Replaced)
    }

    /// Looks at the files now and then, for ever. Files are small and looked at rarely: reading them holds nobody up.
    #[expect(clippy::infinite_loop, reason = "its task is aborted, or dropped, when the listener ends")]
    pub async fn follow(self, listener: &'static str) -> std::convert::Infallible {
        let mut complaint = Complaint::default();
        loop {
            tokio::time::sleep(LOOK_PERIOD).await;
            let certificate = self.inner.files.certificate.display();
            match self.look() {
                Ok(CertificateLook::Same) => complaint = Complaint::default(),
                Ok(CertificateLook::Replaced) => {
                    complaint = Complaint::default();
                    info!(listener, %certificate, "the certificate was replaced; open connections keep the former one");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    if complaint.is_due(format!("{error}: {cause}"), clock::instant()) {
                        error!(listener, %error, cause, "the certificate's files cannot be used; the former ones stay");
                    }
                }
            }
        }
    }

    /// The server's side of a handshake.
    ///
    /// # Errors
    /// The peer speaks no TLS, or shows no certificate where one is asked for.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<ListenerSession> {
        let config = Arc::clone(&self.inner.now.read().config);
        TlsAcceptor::from(config).accept(socket).await
    }
}

// === impl Complaint ===

impl Complaint {
    /// Whether to say it: when it is new, and again now and then for as long as it lasts. The former certificate ends some day.
    fn is_due(&mut self, text: String, now: Instant) -> bool {
        let is_news = self.said.as_ref().is_none_or(|(said, at)| *said != text || now >= *at + REMIND);
        if is_news {
            self.said = Some((text, now));
        }
        is_news
    }
}

// === impl FileBytes ===

impl FileBytes {
    fn read(files: &TlsFiles) -> Result<Self, ListenerTlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| ListenerTlsError::Read { path: path.to_owned(), source })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn config(&self, files: &TlsFiles, protocols: Protocols) -> Result<Arc<ServerConfig>, ListenerTlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |source| ListenerTlsError::Unusable { path: files.certificate.clone(), source };
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_no_key| ListenerTlsError::Content { path: files.key.clone(), expected: "private key" })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let builder = match self.client_ca.as_deref().zip(files.client_ca.as_deref()) {
            None => builder.with_no_client_auth(),
            Some((bytes, path)) => {
                let refused = |reason: String| ListenerTlsError::ClientCa { path: path.to_owned(), reason };
                let mut roots = RootCertStore::empty();
                for authority in certificates(bytes, path)? {
                    roots.add(authority).map_err(|error| refused(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| refused(error.to_string()))?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = match protocols {
            Protocols::Http1 => vec![b"http/1.1".to_vec()],
            Protocols::Http1And2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(Arc::new(config))
    }
}

impl std::fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileBytes")
    }
}

fn certificates(bytes: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, ListenerTlsError> {
    let content = || ListenerTlsError::Content { path: path.to_owned(), expected: "certificate" };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    read.ok().filter(|found| !found.is_empty()).ok_or_else(content)
}

#[cfg(test)]
mod complaint {
    use super::*;

    #[test]
    fn what_stays_wrong_is_said_again_and_what_is_wrong_otherwise_at_once() {
        let (mut complaint, start) = (Complaint::default(), clock::instant());
        let mut said = |text: &str, seconds| complaint.is_due(text.to_owned(), start + Duration::from_secs(seconds));
        assert!(said("no key", 0));
        assert!(!said("no key", 30));
        assert!(said("no certificate", 60));
        assert!(!said("no certificate", 659));
        assert!(said("no certificate", 660));
    }
}
