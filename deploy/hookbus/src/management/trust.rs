//! Whether a token may be sent to an address: over TLS, or to this machine itself; and which authorities are believed.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_rustls::builderstates::WantsSchemes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// What the command line says about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// File with the only authorities that are believed; else the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Whether a token may go to another host in clear.
    pub(crate) insecure: bool,
}

// === impl Trust ===

impl Trust {
    /// Refuses an address that a token would be sent to in clear.
    ///
    /// # Errors
    /// It is plain HTTP to another host, and nobody said that this is fine.
    pub(crate) fn check(&self, url: &str) -> Result<()> {
        let uri: Option<http::Uri> = url.parse().ok();
        let clear = uri.as_ref().filter(|uri| uri.scheme_str() != Some("https"));
        let Some(host) = clear.and_then(http::Uri::host) else { return Ok(()) };
        if self.insecure || is_own(host) {
            return Ok(());
        }
        Err(crate::usage(format!(
            "`{url}` is plain HTTP to another host, and everybody in between could read the token: use https://, or agree with \
             --insecure (HOOKBUS_INSECURE=true)"
        )))
    }

    /// Connections to whom it believes.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub(crate) fn connector(&self) -> Result<HttpsConnectorBuilder<WantsSchemes>> {
        let builder = HttpsConnectorBuilder::new();
        let Some(path) = &self.ca else {
            // The system's own authorities: a company's management API is often signed by the company.
            return builder.with_native_roots().context("cannot read the system's certificates");
        };
        let shown = path.display();
        let read = CertificateDer::pem_file_iter(path).with_context(|| format!("cannot read {shown}"))?;
        let mut roots = RootCertStore::empty();
        for certificate in read {
            let certificate = certificate.with_context(|| format!("{shown} is not PEM"))?;
            roots.add(certificate).with_context(|| format!("{shown} holds what is no authority"))?;
        }
        if roots.is_empty() {
            return Err(crate::usage(format!("{shown} holds no certificate in PEM form")));
        }
        Ok(builder.with_tls_config(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
    }
}

/// Whether a host is this machine.
fn is_own(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_out_in_clear_only_to_this_machine_or_where_somebody_agreed() {
        let (careful, agreed) = (Trust::default(), Trust { insecure: true, ..Trust::default() });
        for own in
            ["https://hookbus.example.com", "http://127.0.0.1:8080", "http://localhost:1/api/v1", "http://[::1]:80"]
        {
            assert!(careful.check(own).is_ok(), "{own}");
        }
        for other in [
            "http://hookbus.example.com",
            "http://10.0.0.1:8081",
            "http://127.0.0.1.example.com",
            "http://[2001:db8::1]",
        ] {
            let error = careful.check(other).unwrap_err();
            assert!(error.is::<crate::Usage>() && error.to_string().contains("--insecure"), "{error}");
            assert!(agreed.check(other).is_ok(), "{other}");
        }
    }

    #[test]
    fn authorities_come_from_the_file_that_is_named() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let trust = Trust { ca: Some(path.clone()), insecure: false };
        let fails = || format!("{:#}", trust.connector().err().unwrap());
        assert!(fails().contains("cannot read"), "{}", fails());
        std::fs::write(&path, "nothing").unwrap();
        assert!(fails().contains("holds no certificate"), "{}", fails());
    }
}
