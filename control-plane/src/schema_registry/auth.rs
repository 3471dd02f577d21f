//! How a registry is shown who asks: `{"type": "none" | "basic" | "bearer", ..}`.

use schemas::control::RegistryAuth;
use serde_json::{Map, Value};
use vault::Vault;

use crate::body::Fields;
use crate::given_secret::{self, AUTH_PREFIX, GivenSecret, MAX_TOKEN};
use crate::problem::Problem;

const FIELDS: &[&str] = &["type", "username", "password", "token"];

/// What a client gave. A secret may be the stored one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RegistryAuthInput {
    Basic { username: String, password: GivenSecret },
    Bearer { token: GivenSecret },
}

// === impl RegistryAuthInput ===

impl RegistryAuthInput {
    /// `None` is "no authentication".
    pub(super) fn read(map: Map<String, Value>) -> Result<Option<Self>, Problem> {
        let mut fields = Fields::new(map, AUTH_PREFIX, FIELDS)?;
        let kind = fields.required_text("type", 1..=20)?;
        let input = match kind.as_str() {
            "none" => None,
            "basic" => {
                let (username, password) = given_secret::basic(&mut fields)?;
                Some(Self::Basic { username, password })
            }
            "bearer" => Some(Self::Bearer { token: GivenSecret::read(&mut fields, "token", MAX_TOKEN)? }),
            _other => return Err(fields.wrong("type", "must be `none`, `basic` or `bearer`")),
        };
        given_secret::check_left(&mut fields, FIELDS, &kind)?;
        Ok(input)
    }

    /// Whether this leaves the stored secret as it is: the same type, and no new one given.
    pub(super) fn keeps(&self, former: &RegistryAuth) -> bool {
        match (self, former) {
            (Self::Basic { password: given, .. }, RegistryAuth::Basic { .. })
            | (Self::Bearer { token: given }, RegistryAuth::Bearer { .. }) => given.is_kept(),
            (Self::Basic { .. } | Self::Bearer { .. }, _other_type) => false,
        }
    }

    /// What is kept.
    pub(super) fn seal(
        &self,
        former: Option<&RegistryAuth>,
        vault: &Vault,
        context: &str,
    ) -> Result<RegistryAuth, Problem> {
        Ok(match self {
            Self::Basic { username, password } => {
                let stored =
                    if let Some(RegistryAuth::Basic { password, .. }) = former { Some(password) } else { None };
                let password = password.seal("password", stored, vault, context)?;
                RegistryAuth::Basic { username: username.clone(), password }
            }
            Self::Bearer { token } => {
                let stored = if let Some(RegistryAuth::Bearer { token }) = former { Some(token) } else { None };
                RegistryAuth::Bearer { token: token.seal("token", stored, vault, context)? }
            }
        })
    }
}

/// The field that holds what is secret.
pub(super) fn secret_field(auth: &RegistryAuth) -> &'static str {
    match auth {
        RegistryAuth::Basic { .. } => "password",
        RegistryAuth::Bearer { .. } => "token",
    }
}
