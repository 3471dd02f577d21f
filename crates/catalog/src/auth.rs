//! How a subscription's requests show who sends them, opened and ready to be used.

use std::fmt;

use schemas::control::{self, Sealed};
use url::Url;
use vault::VaultError;
use zeroize::Zeroizing;

/// What is shown to the receiver beside the signature. `Debug` shows no secret.
pub enum Auth {
    /// HTTP basic.
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Zeroizing<String>,
    },
    /// `Authorization: Bearer`.
    Bearer {
        /// Token.
        token: Zeroizing<String>,
    },
    /// OAuth 2 client credentials.
    Oauth2(Oauth2),
    /// A client certificate.
    Mtls {
        /// Certificate chain, PEM.
        certificate: String,
        /// Private key, PEM.
        private_key: Zeroizing<String>,
    },
}

/// Where tokens come from.
pub struct Oauth2 {
    /// The token endpoint, parsed once.
    pub token_url: Url,
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Zeroizing<String>,
    /// Scopes asked for.
    pub scopes: Vec<String>,
}

/// Why it cannot be opened.
pub(crate) enum AuthError {
    Url(String),
    Sealed(VaultError),
}

// === impl Auth ===

impl Auth {
    /// Opens what a control object holds.
    pub(crate) fn open(
        stored: &control::Auth,
        open: impl Fn(&Sealed) -> Result<Zeroizing<String>, VaultError>,
    ) -> Result<Self, AuthError> {
        let open = |sealed| open(sealed).map_err(AuthError::Sealed);
        Ok(match stored {
            control::Auth::Basic { username, password } => {
                Self::Basic { username: username.clone(), password: open(password)? }
            }
            control::Auth::Bearer { token } => Self::Bearer { token: open(token)? },
            control::Auth::Oauth2 { token_url, client_id, client_secret, scopes } => Self::Oauth2(Oauth2 {
                token_url: Url::parse(token_url).map_err(|error| AuthError::Url(format!("token_url: {error}")))?,
                client_id: client_id.clone(),
                client_secret: open(client_secret)?,
                scopes: scopes.clone(),
            }),
            control::Auth::Mtls { certificate, private_key } => {
                Self::Mtls { certificate: certificate.clone(), private_key: open(private_key)? }
            }
        })
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => f.debug_struct("Basic").field("username", username).finish_non_exhaustive(),
            Self::Bearer { .. } => f.write_str("Bearer(redacted)"),
            Self::Oauth2(oauth2) => oauth2.fmt(f),
            Self::Mtls { .. } => f.write_str("Mtls(redacted)"),
        }
    }
}

impl fmt::Debug for Oauth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oauth2")
            .field("token_url", &self.token_url.as_str())
            .field("client_id", &self.client_id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
