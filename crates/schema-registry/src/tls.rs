//! What connections to registries trust: the public authorities and the host's, or the registry's own alone.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The authorities that are trusted where a registry names none. Read once; clones share them.
#[derive(Clone, Debug)]
pub struct TrustedRoots(Arc<RootCertStore>);

// === impl TrustedRoots ===

impl TrustedRoots {
    /// Reads the host's, beside the public ones.
    #[must_use]
    pub fn load() -> Self {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        // What is wrong with one of them is the host's business: it is not trusted then.
        let native = rustls_native_certs::load_native_certs();
        let (added, ignored) = roots.add_parsable_certificates(native.certs);
        tracing::debug!(added, ignored, errors = native.errors.len(), "certificate authorities of this host");
        Self(Arc::new(roots))
    }

    /// A configuration that trusts these, or those of `ca_pem` alone.
    pub(crate) fn config(&self, ca_pem: Option<&str>) -> Result<ClientConfig, String> {
        let roots = match ca_pem {
            None => Arc::clone(&self.0),
            Some(pem) => Arc::new(own(pem)?),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

fn own(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("`ca_pem` is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("`ca_pem` is no certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("`ca_pem` holds no certificate".to_owned());
    }
    Ok(roots)
}
