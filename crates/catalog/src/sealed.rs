//! Between the envelope as it stands in a control record (texts) and as the vault knows it (bytes).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemas::control;
use vault::{Vault, VaultError};
use zeroize::Zeroizing;

/// Opens a text. `context` is the control key of the record the envelope stands in.
///
/// # Errors
/// An envelope that is damaged, from elsewhere, or sealed with a key that is not configured.
pub fn open_text(vault: &Vault, context: &str, sealed: &control::Sealed) -> Result<Zeroizing<String>, VaultError> {
    let damaged = || VaultError::DoesNotOpen { kid: sealed.kid.clone(), context: context.to_owned() };
    let nonce = STANDARD.decode(&sealed.nonce).ok().and_then(|bytes| bytes.try_into().ok());
    let ct = STANDARD.decode(&sealed.ct).ok();
    let (Some(nonce), Some(ct)) = (nonce, ct) else { return Err(damaged()) };
    vault.open_text(context, &vault::Sealed { kid: sealed.kid.clone(), nonce, ct })
}

/// Seals a text for a record under the control key `context`.
///
/// # Errors
/// The system's random source failed, or the text is absurdly long.
pub fn seal_text(vault: &Vault, context: &str, plain: &str) -> Result<control::Sealed, VaultError> {
    let sealed = vault.seal(context, plain.as_bytes())?;
    Ok(control::Sealed { kid: sealed.kid, nonce: STANDARD.encode(sealed.nonce), ct: STANDARD.encode(sealed.ct) })
}

/// Seals a text again if another key than the current one has sealed it. Returns whether it did.
///
/// # Errors
/// As [`open_text`] and [`seal_text`]; the envelope is as it was then.
pub fn reseal(vault: &Vault, context: &str, sealed: &mut control::Sealed) -> Result<bool, VaultError> {
    if sealed.kid == vault.current_id() {
        return Ok(false);
    }
    let plain = open_text(vault, context, sealed)?;
    *sealed = seal_text(vault, context, &plain)?;
    Ok(true)
}
