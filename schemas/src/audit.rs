//! Who changed what: one record on `audit` per changed object, in the transaction of the change itself. What was done with an object
//! without changing it, as a ping is, has one too, without hashes.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Current version of the record.
pub const VERSION: u8 = 1;

/// One change of one object. Holds names and hashes, never values: what an object held is nobody's business but its owner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Version, [`VERSION`].
    pub v: u8,
    /// When, Unix ms.
    pub at_ms: i64,
    /// Who: `admin`, `application_secret/<id>`, `service_token/<id>`, `system/<part>`.
    pub actor: String,
    /// What: `<type>.<create|update|delete>`, or a name of its own (`subscription.ping`).
    pub action: String,
    /// The object's key on `control`.
    pub key: String,
    /// SHA-256 of the encoded object before, lower-case hex; absent if there was none, or nothing of it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// SHA-256 of the encoded object after; absent if it is gone, or nothing of it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Names of the fields that were changed, never what stands in them: `description`, `target.url`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `X-Request-Id` of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The write's id, as the control records carry it.
    pub write_id: Uuid,
}
