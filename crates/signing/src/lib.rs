//! Signs and verifies webhooks: Standard Webhooks `v1` and `v1a`, Hook0 `v1` and `v0`, and the body-only form.
//!
//! Where it sits: the control plane parses and shows [`Secret`]s, the delivery worker keeps one [`Signer`] per subscription and
//! signs every attempt with it, a receiver (the testkit's, or a user's) checks with a [`Verifier`].
//!
//! ```text
//! text a client gave --> Secret --+--> Signer   --> webhook-signature, X-Hook0-Signature
//!                  whsk_... key --+
//!                        Secret --+--> Verifier <-- what arrived
//!                  whpk_... key --+
//! ```
//!
//! A body is a list of slices, signed in order as if they stood in one buffer, so that an envelope around a payload need not be
//! concatenated for signing. Everything here is pure: times are arguments, only [`Secret::generate`] and
//! [`Ed25519Key::generate`] ask the system for random bytes.
//!
//! What it leaves to others: which headers a request carries, when a rotation ends, and how secrets are stored (`vault`).

mod ed25519;
mod error;
mod message;
mod scheme;
mod secret;
mod signer;
mod verify;

pub use ed25519::{Ed25519Key, Ed25519PublicKey};
pub use error::SigningError;
pub use scheme::{Scheme, Schemes};
pub use secret::{MAX_TEXT_BYTES, MIN_TEXT_BYTES, SECRET_NAMESPACE, Secret};
pub use signer::Signer;
pub use verify::{DEFAULT_TOLERANCE_S, StandardHeaders, Verifier};

/// The bytes of a request body, as slices that follow each other.
pub type Body<'a> = &'a [&'a [u8]];

#[cfg(test)]
mod tests;
