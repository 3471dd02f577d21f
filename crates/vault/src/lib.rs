//! Encryption at rest: secrets stand in `control` records as AES-256-GCM envelopes, tokens as keyed hashes.
//!
//! Where it sits: the control plane seals and makes tokens, the catalog opens and looks tokens up. Everybody who may open has the
//! same keys from configuration; nobody else can read a secret from the topic.
//!
//! ```text
//! secret --seal(control key)--> Sealed {kid, nonce, ct} --in a control record--> open(control key) --> secret
//! token  --lookup--> LookupHash --the key under which the catalog finds it; the token itself is never stored
//! ```
//!
//! **Keys.** The first [`EncryptionKey`] seals, all of them open, so a rotation is: put the new key in front, let the control
//! plane write again what [`Vault::is_current`] denies, remove the old key. The lookup key is separate and stays: a hash
//! cannot be computed again from a hash.
//!
//! **Context.** An envelope is bound to the control key it stands under. Copied to another key it does not open, so whoever can
//! write to the topic cannot move one customer's secret under another's subscription.
//!
//! What it leaves to others: where keys come from (`chassis::config`) and which fields are sealed (`schemas`).

mod digest;
mod envelope;
mod error;
mod keys;
mod lookup;
mod random;

pub use digest::sha256;
pub use envelope::{Sealed, Vault};
pub use error::VaultError;
pub use keys::{EncryptionKey, KEY_BYTES, MAX_KEY_ID_BYTES, generate_key, parse_keys, parse_lookup_key};
pub use lookup::{HASH_BYTES, LookupHash};
pub use random::{random_token_256, random_uuid};

#[cfg(test)]
mod tests;
