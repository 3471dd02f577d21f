//! Which targets may be called: the protection against requests that turn on the sender's own network (SSRF), once for both
//! doors.
//!
//! ```text
//! a target is written (control plane) ---> TargetPolicy::read           URL rules, names, addresses written in the URL
//! a request is made (delivery worker) ---> TargetPolicy::check_url      the same rules for what is stored
//!          name --resolver--> addresses -> TargetPolicy::check_address  each of them; what is refused is never dialled
//! ```
//!
//! The first door tells a mistake at once. The second is the protection: what a name means is known only when it is dialled.
//! Whatever the first refuses, the second refuses too; a test holds the two against each other over one corpus of spellings.
//!
//! A URL is parsed once, by the `url` crate: its spelling of an address (`http://0x7f.1`, `[::ffff:127.0.0.1]`) is plain then.
//!
//! Pure, but for one question to the kernel: whether an address is this host's own ([`OwnAddresses`]).

mod allow;
mod embedded;
mod metadata;
mod own;
mod policy;
mod ranges;
mod refused;

pub use self::allow::{AllowList, HostSuffix, NoHostSuffix};
pub use self::embedded::{Nat64Prefix, NoNat64Prefix};
pub use self::own::OwnAddresses;
pub use self::policy::{TargetPolicy, TargetRules};
pub use self::refused::TargetRefused;
