//! What the attempts of a subscription have in common, as it was used: told once, so that an attempt costs a number instead of
//! 700 bytes and its request can still be shown as it was.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::{BodyForm, SigningScheme};

/// What the attempts of a subscription have in common. No secret stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts<'a> {
    /// Offset on `control` of the subscription as it is used: its attempts name it in `exchange.target`.
    pub offset: i64,
    /// HTTP method, upper case.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// Normalised URL.
    #[serde(borrow)]
    pub url: Cow<'a, str>,
    /// Custom headers by name, in lower case; the value of a secret one, and of one that cannot be opened, is `null`.
    #[serde(default, borrow, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>,
    /// How requests show who sends them: `basic`, `bearer`, `oauth2` or `mtls`.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Cow<'a, str>>,
    /// Signature schemes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signing: Vec<SigningScheme>,
    /// What the request body is.
    pub body: BodyForm,
    /// Whole attempt at most, ms.
    pub timeout_ms: u64,
}
