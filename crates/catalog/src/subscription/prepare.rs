//! What an attempt needs of a subscription: secrets opened, the URL parsed, keys prepared; made at the first use and kept.

use std::fmt;
use std::sync::Arc;

use schemas::control::{self, ControlKey, SigningScheme};
use signing::{Ed25519Key, Scheme, Schemes, Secret, Signer};
use url::Url;
use zeroize::Zeroizing;

use super::Subscription;
use crate::auth::{Auth, AuthError};
use crate::error::PrepareError;
use crate::sealed::open_text;

/// Where requests go, ready to be used. `Debug` shows no header value.
pub struct Target {
    /// HTTP method, upper case.
    pub method: String,
    /// Parsed once; what is connected to is exactly what was checked.
    pub url: Url,
    /// Custom headers, opened: lower-case names, sorted.
    pub headers: Vec<(String, Zeroizing<String>)>,
    /// How requests show who sends them.
    pub auth: Option<Auth>,
    /// The authorities that its certificate may come from, PEM, in place of those of every target.
    pub ca_certificates: Option<String>,
}

/// What signs until one of its secrets expires.
pub(super) struct LiveSigner {
    signer: Arc<Signer>,
    /// When one of its secrets expires, Unix ms.
    until_ms: i64,
}

// === impl Subscription ===

impl Subscription {
    /// Where requests go, prepared at the first call.
    ///
    /// # Errors
    /// The same one at every call: a URL that does not parse, a header that does not open.
    pub fn target(&self) -> Result<&Target, &PrepareError> {
        self.target.get_or_init(|| Box::new(self.prepare_target())).as_ref().as_ref()
    }

    /// What signs an attempt made now: made at the first call, and again when a rotated secret has expired.
    ///
    /// # Errors
    /// A secret that does not open, or none that is live.
    pub fn signer(&self, now_ms: i64) -> Result<Arc<Signer>, PrepareError> {
        if let Some(live) = self.signer.load().as_ref()
            && now_ms < live.until_ms
        {
            return Ok(Arc::clone(&live.signer));
        }
        let live = Arc::new(self.prepare_signer(now_ms)?);
        let signer = Arc::clone(&live.signer);
        self.signer.store(Some(live));
        Ok(signer)
    }

    fn prepare_target(&self) -> Result<Target, PrepareError> {
        let object = self.object();
        let target = &object.target;
        let url = Url::parse(&target.url)
            .map_err(|error| PrepareError::Url { subscription: self.id(), reason: error.to_string() })?;
        let context = self.context();
        let open = |(name, sealed): (&String, &control::Sealed)| {
            let value = open_text(&self.vault, &context, sealed).map_err(|source| self.does_not_open(source))?;
            Ok((name.to_ascii_lowercase(), value))
        };
        let mut headers = target.headers.iter().map(open).collect::<Result<Vec<_>, PrepareError>>()?;
        headers.sort_by(|one, other| one.0.cmp(&other.0));
        let open = |sealed: &control::Sealed| open_text(&self.vault, &context, sealed);
        let auth = object.auth.as_ref().map(|stored| Auth::open(stored, open)).transpose();
        let auth = auth.map_err(|error| match error {
            AuthError::Url(reason) => PrepareError::Url { subscription: self.id(), reason },
            AuthError::Sealed(source) => self.does_not_open(source),
        })?;
        let (method, ca_certificates) = (target.method.clone(), target.ca_certificates.clone());
        Ok(Target { method, url, headers, auth, ca_certificates })
    }

    fn prepare_signer(&self, now_ms: i64) -> Result<LiveSigner, PrepareError> {
        let object = self.object();
        let context = self.context();
        let unsigned = |source| PrepareError::Signing { subscription: self.id(), source };
        let (mut secrets, mut keys, mut until_ms) = (Vec::new(), Vec::new(), i64::MAX);
        for secret in &object.secrets {
            let expires_ms = secret.expires_ms.unwrap_or(i64::MAX);
            if expires_ms <= now_ms {
                continue;
            }
            until_ms = until_ms.min(expires_ms);
            let text = open_text(&self.vault, &context, &secret.sealed).map_err(|source| self.does_not_open(source))?;
            // An ed25519 key pair stands among the secrets; its prefix tells it apart.
            if text.starts_with("whsk_") {
                keys.push(Ed25519Key::parse(&text).map_err(unsigned)?);
            } else {
                secrets.push(Secret::parse(&text).map_err(unsigned)?);
            }
        }
        let schemes: Vec<Scheme> = object.signing.iter().map(|scheme| scheme_of(*scheme)).collect();
        let schemes = Schemes::new(&schemes).map_err(unsigned)?;
        let signer = Signer::new(&secrets, keys, schemes).map_err(unsigned)?;
        Ok(LiveSigner { signer: Arc::new(signer), until_ms })
    }

    /// The context its envelopes are bound to: its control key.
    fn context(&self) -> String {
        ControlKey::Subscription(self.application(), self.id()).to_string()
    }

    fn does_not_open(&self, source: vault::VaultError) -> PrepareError {
        PrepareError::Sealed { subscription: self.id(), source }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Target")
            .field("method", &self.method)
            .field("url", &self.url.as_str())
            .field("headers", &names)
            .field("auth", &self.auth)
            .field("ca_certificates", &self.ca_certificates)
            .finish()
    }
}

fn scheme_of(scheme: SigningScheme) -> Scheme {
    match scheme {
        SigningScheme::Standard => Scheme::Standard,
        SigningScheme::Hook0 => Scheme::Hook0,
        SigningScheme::Hook0Body => Scheme::Hook0Body,
        SigningScheme::Ed25519 => Scheme::Ed25519,
    }
}
