//! The schemes a subscription may sign with, and the set of them that is on.

use std::fmt;
use std::str::FromStr;

use crate::error::SigningError;

/// One way to sign, named as in a subscription's `signing` list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `standard`: `v1` in `webhook-signature`.
    Standard,
    /// `hook0`: `t=..,h=..,v1=..` in `X-Hook0-Signature`.
    Hook0,
    /// `hook0_body`: `sha256=..` over the raw body in `X-Hook0-Signature`. Signs no timestamp.
    Hook0Body,
    /// `ed25519`: `v1a` in `webhook-signature`.
    Ed25519,
}

/// The schemes that are on: at least one, and at most one of the two Hook0 forms, because they share a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Schemes {
    standard: bool,
    ed25519: bool,
    hook0: Option<Hook0Form>,
}

/// What stands in `X-Hook0-Signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Hook0Form {
    /// Timestamp, headers and body.
    Full,
    /// The body alone.
    Body,
}

// === impl Scheme ===

impl Scheme {
    /// Every scheme, in the order in which lists are shown.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Hook0, Self::Hook0Body, Self::Ed25519];

    /// The name used in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Hook0 => "hook0",
            Self::Hook0Body => "hook0_body",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = SigningError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.as_str() == name)
            .ok_or_else(|| SigningError::UnknownScheme { name: name.chars().take(40).collect() })
    }
}

// === impl Schemes ===

impl Schemes {
    /// The set of a list; repeats are harmless.
    ///
    /// # Errors
    /// An empty list, or both Hook0 forms.
    pub fn new(list: &[Scheme]) -> Result<Self, SigningError> {
        let hook0 = match (list.contains(&Scheme::Hook0), list.contains(&Scheme::Hook0Body)) {
            (true, true) => return Err(SigningError::SchemesConflict),
            (true, false) => Some(Hook0Form::Full),
            (false, true) => Some(Hook0Form::Body),
            (false, false) => None,
        };
        if list.is_empty() {
            return Err(SigningError::NoScheme);
        }
        Ok(Self { standard: list.contains(&Scheme::Standard), ed25519: list.contains(&Scheme::Ed25519), hook0 })
    }

    /// The set of a list of names.
    ///
    /// # Errors
    /// As [`Schemes::new`], and an unknown name.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, SigningError> {
        let list = names.iter().map(|name| name.as_ref().parse()).collect::<Result<Vec<Scheme>, _>>()?;
        Self::new(&list)
    }

    /// Whether a scheme is on.
    #[must_use]
    pub fn contains(self, scheme: Scheme) -> bool {
        match scheme {
            Scheme::Standard => self.standard,
            Scheme::Ed25519 => self.ed25519,
            Scheme::Hook0 => self.hook0 == Some(Hook0Form::Full),
            Scheme::Hook0Body => self.hook0 == Some(Hook0Form::Body),
        }
    }

    /// The schemes that are on, in the order of [`Scheme::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scheme> {
        Scheme::ALL.into_iter().filter(move |scheme| self.contains(*scheme))
    }

    /// Which Hook0 form is on, if any.
    pub(crate) const fn hook0(self) -> Option<Hook0Form> {
        self.hook0
    }
}

impl Default for Schemes {
    /// `standard` and `hook0`: verifiers of both families accept every delivery with the same secret.
    fn default() -> Self {
        Self { standard: true, ed25519: false, hook0: Some(Hook0Form::Full) }
    }
}
