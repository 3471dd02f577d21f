//! How a target is shown who calls it, beside the signature: read, sealed and shown.

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use schemas::control::{Auth, Sealed};
use schemas::problem::Code;
use serde_json::{Map, Value};
use vault::Vault;

use crate::body::Fields;
use crate::certificates;
use crate::custom_headers::MASK;
use crate::given_secret::{self, AUTH_PREFIX, GivenSecret, MAX_TEXT, MAX_TOKEN};
use crate::problem::Problem;
use target::TargetPolicy;

const FIELDS: &[&str] = &[
    "type",
    "username",
    "password",
    "token",
    "token_url",
    "client_id",
    "client_secret",
    "scopes",
    "certificate",
    "private_key",
];
const TYPES: &str = "`none`, `basic`, `bearer`, `oauth2` or `mtls`";
const MAX_SCOPES: usize = 20;
/// Bytes of one scope.
const MAX_SCOPE: usize = 200;
/// Bytes of a certificate chain.
pub(super) const MAX_CERTIFICATE: usize = 32_768;
/// Certificates of a chain.
const MAX_CHAIN: usize = 10;
/// Bytes of a private key.
const MAX_PRIVATE_KEY: usize = 16_384;

/// What a client gave. A secret that is `None` is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AuthInput {
    Basic { username: String, password: GivenSecret },
    Bearer { token: GivenSecret },
    Oauth2 { token_url: String, client_id: String, client_secret: GivenSecret, scopes: Vec<String> },
    Mtls { certificate: String, private_key: GivenSecret },
}

// === impl AuthInput ===

impl AuthInput {
    /// `None` is "no authentication".
    pub(super) fn read(map: Map<String, Value>, policy: &TargetPolicy) -> Result<Option<Self>, Problem> {
        let mut fields = Fields::new(map, AUTH_PREFIX, FIELDS)?;
        let kind = fields.required_text("type", 1..=20)?;
        let input = match kind.as_str() {
            "none" => None,
            "basic" => {
                let (username, password) = given_secret::basic(&mut fields)?;
                Some(Self::Basic { username, password })
            }
            "bearer" => Some(Self::Bearer { token: GivenSecret::read(&mut fields, "token", MAX_TOKEN)? }),
            "oauth2" => Some(oauth2(&mut fields, policy)?),
            "mtls" => Some(mtls(&mut fields)?),
            _other => return Err(fields.wrong("type", format!("must be {TYPES}"))),
        };
        given_secret::check_left(&mut fields, FIELDS, &kind)?;
        Ok(input)
    }

    /// Whether it sets the header `authorization`.
    pub(super) fn sets_header(auth: &Auth) -> bool {
        match auth {
            Auth::Basic { .. } | Auth::Bearer { .. } | Auth::Oauth2 { .. } => true,
            Auth::Mtls { .. } => false,
        }
    }

    /// The field of the stored secret, if this keeps it: the same type, and no new one given.
    pub(super) fn keeps(&self, former: &Auth) -> Option<&'static str> {
        let given = match (self, former) {
            (Self::Basic { password, .. }, Auth::Basic { .. }) => password,
            (Self::Bearer { token }, Auth::Bearer { .. }) => token,
            (Self::Oauth2 { client_secret, .. }, Auth::Oauth2 { .. }) => client_secret,
            (Self::Mtls { private_key, .. }, Auth::Mtls { .. }) => private_key,
            (Self::Basic { .. } | Self::Bearer { .. } | Self::Oauth2 { .. } | Self::Mtls { .. }, _other_type) => {
                return None;
            }
        };
        given.is_kept().then(|| secret_field(former))
    }

    /// Who gets the secret in place of the target.
    pub(super) fn token_url(&self) -> Option<&str> {
        if let Self::Oauth2 { token_url, .. } = self { Some(token_url) } else { None }
    }

    /// What is kept; whether it may be is up to `input::receiver`. An unchanged secret keeps its envelope, so that an unchanged
    /// object is seen to be one.
    pub(super) fn seal(&self, former: Option<&Auth>, vault: &Vault, context: &str) -> Result<Auth, Problem> {
        let seal = |name: &str, given: &GivenSecret, stored: Option<&Sealed>| given.seal(name, stored, vault, context);
        Ok(match self {
            Self::Basic { username, password } => {
                let stored = if let Some(Auth::Basic { password, .. }) = former { Some(password) } else { None };
                Auth::Basic { username: username.clone(), password: seal("password", password, stored)? }
            }
            Self::Bearer { token } => {
                let stored = if let Some(Auth::Bearer { token }) = former { Some(token) } else { None };
                Auth::Bearer { token: seal("token", token, stored)? }
            }
            Self::Oauth2 { token_url, client_id, client_secret, scopes } => {
                let stored =
                    if let Some(Auth::Oauth2 { client_secret, .. }) = former { Some(client_secret) } else { None };
                Auth::Oauth2 {
                    token_url: token_url.clone(),
                    client_id: client_id.clone(),
                    client_secret: seal("client_secret", client_secret, stored)?,
                    scopes: scopes.clone(),
                }
            }
            Self::Mtls { certificate, private_key } => {
                let stored = if let Some(Auth::Mtls { private_key, .. }) = former { Some(private_key) } else { None };
                let sealed = seal("private_key", private_key, stored)?;
                fits(certificate, &sealed, vault, context)?;
                Auth::Mtls { certificate: certificate.clone(), private_key: sealed }
            }
        })
    }
}

/// The field that holds what is secret.
pub(super) fn secret_field(auth: &Auth) -> &'static str {
    match auth {
        Auth::Basic { .. } => "password",
        Auth::Bearer { .. } => "token",
        Auth::Oauth2 { .. } => "client_secret",
        Auth::Mtls { .. } => "private_key",
    }
}

/// Who gets the stored secret in place of the target.
pub(super) fn token_url(auth: &Auth) -> Option<&str> {
    if let Auth::Oauth2 { token_url, .. } = auth { Some(token_url) } else { None }
}

fn oauth2(fields: &mut Fields, policy: &TargetPolicy) -> Result<AuthInput, Problem> {
    let token_url = policy
        .read(&fields.required_text("token_url", 1..=MAX_TOKEN)?)
        .map_err(|refused| Problem::field("auth.token_url", Code::TargetRefused, refused.to_string()))?;
    let client_id = fields.required_text("client_id", 1..=MAX_TEXT)?;
    if client_id.chars().any(char::is_control) {
        return Err(fields.wrong("client_id", "must not hold a control character"));
    }
    let scopes = fields.texts("scopes", MAX_SCOPES)?.unwrap_or_default();
    // RFC 6749, section 3.3.
    let is_scope = |scope: &String| {
        (1..=MAX_SCOPE).contains(&scope.len())
            && scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    };
    if !scopes.iter().all(is_scope) {
        let message = format!("each has 1 to {MAX_SCOPE} visible ASCII characters, no quotes, no backslashes");
        return Err(fields.wrong("scopes", message));
    }
    let client_secret = GivenSecret::read(fields, "client_secret", MAX_TOKEN)?;
    Ok(AuthInput::Oauth2 { token_url: token_url.into(), client_id, client_secret, scopes })
}

fn mtls(fields: &mut Fields) -> Result<AuthInput, Problem> {
    let certificate = fields.required_text("certificate", 1..=MAX_CERTIFICATE)?;
    chain(&certificate).map_err(|message| fields.wrong("certificate", message))?;
    let private_key = match fields.text("private_key", 1..=MAX_PRIVATE_KEY)?.flatten() {
        Some(pem) if pem != MASK => {
            private_key(&pem).map_err(|message| fields.wrong("private_key", message))?;
            GivenSecret::of(Some(pem))
        }
        Some(_) | None => GivenSecret::of(None),
    };
    Ok(AuthInput::Mtls { certificate, private_key })
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    if !certificates::are_alone(pem) {
        return Err(certificates::NOT_ALONE.to_owned());
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).take(MAX_CHAIN + 1).collect();
    let certificates = read.map_err(|error| format!("is not PEM: {error}"))?;
    match certificates.len() {
        0 => Err("holds no PEM certificate".to_owned()),
        1..=MAX_CHAIN => Ok(certificates),
        _ => Err(format!("holds more than {MAX_CHAIN} certificates")),
    }
}

/// Certificates that others may be judged by.
pub(super) fn authorities(pem: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem)? {
        roots.add(certificate).map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
    }
    Ok(())
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, &'static str> {
    // The reader's error may quote what it read.
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_quotes_the_key| "holds no PEM private key")
}

/// Whether certificate and key belong together and are of a kind that can be used: what the delivery worker would find out.
fn fits(certificate: &str, private: &Sealed, vault: &Vault, context: &str) -> Result<(), Problem> {
    let wrong = |field: &str, message: String| Problem::field(field, Code::InvalidField, message);
    let chain = chain(certificate).map_err(|message| wrong("auth.certificate", message))?;
    let text = catalog::sealed::open_text(vault, context, private).map_err(|error| crate::problem::vault(&error))?;
    let key = private_key(&text).map_err(|message| wrong("auth.private_key", message.to_owned()))?;
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(_usable) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(wrong("auth.private_key", "does not belong to the certificate".to_owned()))
        }
        Err(rustls::Error::InvalidCertificate(error)) => Err(wrong("auth.certificate", error.to_string())),
        Err(error) => Err(wrong("auth.private_key", error.to_string())),
    }
}

#[cfg(test)]
mod tests;
