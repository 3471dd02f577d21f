//! What TLS connections are made with: the ring provider, the public authorities and the operator's own, and what one subscription
//! has of its own: a client certificate, the authorities of its target.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

/// Makes TLS configurations. Clones share the authorities.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

/// What one subscription has of its own, all of it PEM.
#[derive(Clone, Copy, Default)]
pub(crate) struct OwnTls<'a> {
    /// What it shows: a chain and its private key.
    pub(crate) certificate: Option<(&'a str, &'a str)>,
    /// Whom it trusts, and nobody else.
    pub(crate) authorities: Option<&'a str>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of the operator's authorities cannot be used.
    #[error("the certificate authorities in {path} cannot be read")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PemError,
    },
    /// A certificate or key is no PEM.
    #[error("a certificate or private key is no PEM")]
    Pem(#[source] PemError),
    /// It is PEM and cannot be used all the same.
    #[error(transparent)]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// Trusts the public authorities, those that this host trusts, and those in a PEM file.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub(crate) fn new(authorities: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        // What is wrong with one of them is the host's business: it is not trusted then.
        let native = rustls_native_certs::load_native_certs();
        let (added, ignored) = roots.add_parsable_certificates(native.certs);
        tracing::debug!(added, ignored, errors = native.errors.len(), "certificate authorities of this host");
        if let Some(path) = authorities {
            let unread = |source| TlsError::Authorities { path: path.to_owned(), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
                roots.add(certificate.map_err(unread)?)?;
            }
        }
        Ok(Self { provider: Arc::new(rustls::crypto::ring::default_provider()), roots: Arc::new(roots) })
    }

    /// For targets that ask for nothing.
    ///
    /// # Errors
    /// The provider cannot serve the protocol versions.
    pub(crate) fn plain(&self) -> Result<ClientConfig, TlsError> {
        let config = self.builder()?.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        Ok(pooled(config))
    }

    /// With what one subscription has of its own.
    ///
    /// # Errors
    /// A certificate, key or authority that is none, or a pair that does not belong together.
    pub(crate) fn own(&self, own: OwnTls<'_>) -> Result<ClientConfig, TlsError> {
        let roots = match own.authorities {
            None => Arc::clone(&self.roots),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem)? {
                    roots.add(certificate)?;
                }
                Arc::new(roots)
            }
        };
        let builder = self.builder()?.with_root_certificates(roots);
        let Some((certificate, private_key)) = own.certificate else {
            return Ok(pooled(builder.with_no_client_auth()));
        };
        let key = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(TlsError::Pem)?;
        Ok(pooled(builder.with_client_auth_cert(certificates(certificate)?, key)?))
    }

    fn builder(&self) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        Ok(builder.with_safe_default_protocol_versions()?)
    }
}

/// At least one.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(TlsError::Pem)?;
    if all.is_empty() { Err(TlsError::Pem(PemError::NoItemsFound)) } else { Ok(all) }
}

/// What connections of the pool have in common. It keeps their sessions itself.
fn pooled(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    config
}
