//! Credentials in `auth` of an object: read, sealed and kept. Secrets are never shown again; the mask or nothing in their place keeps
//! what is stored, as long as the type and the receiver stay.

use schemas::control::Sealed;
use schemas::problem::Code;
use vault::Vault;

use crate::body::Fields;
use crate::custom_headers::MASK;
use crate::problem::{self, Problem};

/// Where they stand.
pub(crate) const AUTH_PREFIX: &str = "auth.";
/// Bytes of a name or password.
pub(crate) const MAX_TEXT: usize = 500;
/// Bytes of a token.
pub(crate) const MAX_TOKEN: usize = 4_096;

/// A secret as it was given. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct GivenSecret(Option<String>);

// === impl GivenSecret ===

impl GivenSecret {
    /// This one, or what is stored.
    pub(crate) fn of(given: Option<String>) -> Self {
        Self(given)
    }

    /// A secret that goes into a header or a form: no control characters.
    pub(crate) fn read(fields: &mut Fields, name: &str, max: usize) -> Result<Self, Problem> {
        let given = fields.text(name, 1..=max)?.flatten().filter(|text| text != MASK);
        if given.as_deref().is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(fields.wrong(name, "must not hold a control character"));
        }
        if name == "token" && given.as_deref().is_some_and(|text| !text.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(fields.wrong(name, "must be visible ASCII without spaces"));
        }
        Ok(Self(given))
    }

    /// Whether what is stored stays.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.is_none()
    }

    /// An unchanged secret keeps its envelope, so that an unchanged object is seen to be one.
    pub(crate) fn seal(
        &self,
        name: &str,
        stored: Option<&Sealed>,
        vault: &Vault,
        context: &str,
    ) -> Result<Sealed, Problem> {
        match (&self.0, stored) {
            (None, Some(stored)) => Ok(stored.clone()),
            (None, None) => Err(Problem::field(&format!("{AUTH_PREFIX}{name}"), Code::InvalidField, "is required")),
            (Some(text), stored) => {
                let same = |stored: &&Sealed| {
                    catalog::sealed::open_text(vault, context, stored).is_ok_and(|plain| *plain == *text)
                };
                let seal = || catalog::sealed::seal_text(vault, context, text).map_err(|error| problem::vault(&error));
                stored.filter(same).map_or_else(seal, |stored| Ok(stored.clone()))
            }
        }
    }
}

impl std::fmt::Debug for GivenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Given(redacted)" } else { "Given(kept)" })
    }
}

/// User and password of HTTP basic.
pub(crate) fn basic(fields: &mut Fields) -> Result<(String, GivenSecret), Problem> {
    let username = fields.required_text("username", 1..=MAX_TEXT)?;
    if username.contains(':') || username.chars().any(char::is_control) {
        return Err(fields.wrong("username", "must hold neither a colon nor a control character"));
    }
    let password = GivenSecret::read(fields, "password", MAX_TEXT)?;
    Ok((username, password))
}

/// Refuses what is left of these fields: it belongs to another type of credentials, and would be forgotten silently.
pub(crate) fn check_left(fields: &mut Fields, names: &[&str], kind: &str) -> Result<(), Problem> {
    let left = names.iter().find(|name| fields.take(name).is_some_and(|value| !value.is_null()));
    match left {
        Some(name) => Err(fields.wrong(name, format!("has no meaning with type `{kind}`"))),
        None => Ok(()),
    }
}
