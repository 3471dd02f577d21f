//! Random bytes from the system, and the ids and tokens made of them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::VaultError;

/// A random UUID, version 4: 122 of its 128 bits are random, six say which kind of UUID it is.
///
/// # Errors
/// The system's random source failed.
pub fn random_uuid() -> Result<Uuid, VaultError> {
    let random = bytes::<16>()?;
    Ok(uuid::Builder::from_random_bytes(*random).into_uuid())
}

/// An opaque token of 256 random bits: 43 characters that need no escaping in a URL or a header.
///
/// # Errors
/// The system's random source failed.
pub fn random_token_256() -> Result<Zeroizing<String>, VaultError> {
    let random = bytes::<32>()?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*random)))
}

pub(crate) fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, VaultError> {
    let mut random = Zeroizing::new([0; N]);
    SystemRandom::new().fill(random.as_mut_slice()).map_err(|ring::error::Unspecified| VaultError::Random)?;
    Ok(random)
}
