//! One request and what came back, as its lifecycle record indexes it. The answer's head and body stand beside it
//! ([`super::Response`]).

use std::borrow::Cow;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One request and what came back. An ordinary one takes about 190 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange<'a> {
    /// When the request started, Unix ms.
    pub started_ms: i64,
    /// How long it took, body included, ms.
    pub elapsed_ms: i64,
    /// HTTP status, if an answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Error word of a closed list, if none came or it broke off.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
    /// When this attempt was due, Unix ms, if it had waited for a time: it is late by `started_ms` minus this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<i64>,
    /// From the start to the answer's head, ms, if one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<i64>,
    /// The address that was dialled, also where it refused or TLS failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<SocketAddr>,
    /// `1.1` or `2`, if there was a connection.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub http: Option<Cow<'a, str>>,
    /// How long the name was looked up, ms. This and the next two are absent where a kept connection was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_ms: Option<u32>,
    /// How long the connection took to be made, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u32>,
    /// How long TLS took to be agreed on, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<u32>,
    /// Offset on `control` of the subscription as it was used: names its [`super::TargetFacts`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<i64>,
    /// The first 12 characters of each signature behind the name of its form, with spaces between: enough to compare with what
    /// a receiver computed, useless for sending.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Cow<'a, str>>,
    /// Version 1 only: response headers, repeats joined.
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Version 1 only: response body, lossy UTF-8.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub body: Option<Cow<'a, str>>,
}
