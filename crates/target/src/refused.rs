//! Why a target is refused, in words for the person who wrote it.

use std::net::IpAddr;

/// The rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetRefused {
    /// No URL at all.
    #[error("not a URL: {0}")]
    NotUrl(url::ParseError),
    /// Too long.
    #[error("longer than {max_bytes} bytes")]
    TooLong {
        /// The longest that is taken.
        max_bytes: usize,
    },
    /// Another scheme.
    #[error("only https is allowed, not {0}")]
    Scheme(String),
    /// No host.
    #[error("it has no host")]
    NoHost,
    /// User information in the URL.
    #[error("a user name or password must not stand in the URL: use a custom header")]
    Credentials,
    /// A name that means this machine.
    #[error("`{0}` is a name of the sender itself")]
    LocalName(String),
    /// A name of a metadata service.
    #[error("`{0}` is a name of a metadata service")]
    MetadataName(String),
    /// Hookbus itself: what this process listens on, Kafka, or its egress proxy.
    #[error("`{0}` is an address of Hookbus, of its Kafka or of its egress proxy")]
    Own(String),
    /// An address that is not public and not allowed.
    #[error("{address} is {kind}")]
    Address {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
    },
}
