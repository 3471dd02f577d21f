//! `control.admin_key` and `control.admin_keys`: the operator's. More than one, so that one can be replaced while both open.

use secrecy::{ExposeSecret as _, SecretString};

use super::key::{Key, Kind};
use super::reader::Reader;

/// An admin key can do everything; shorter ones can be guessed.
const MIN_LENGTH: usize = 16;
const ONE_PATH: &str = "control.admin_key";
const MORE_PATH: &str = "control.admin_keys";

pub(super) const ONE: Key = Key {
    path: ONE_PATH,
    kind: Kind::Secret,
    default: "",
    title: "Admin key",
    effect: "Bearer token that may do everything, at least 16 characters. Without it nobody can make the first application.",
};

pub(super) const MORE: Key = Key {
    path: MORE_PATH,
    kind: Kind::Secret,
    default: "",
    title: "More admin keys",
    effect: "With commas between them, each as good as the first. To replace one without downtime: add the new one here and restart \
             all control planes and gateways, hand it out, then take the old one away.",
};

/// All of them.
pub(super) fn read(from: &Reader<'_>) -> Vec<SecretString> {
    from.secret(ONE_PATH).into_iter().chain(more(from)).collect()
}

/// The same, and notes those that can be guessed.
pub(super) fn read_checked(from: &mut Reader<'_>) -> Vec<SecretString> {
    let is_long = |key: &SecretString| key.expose_secret().len() >= MIN_LENGTH;
    let (one, more) = (from.secret(ONE_PATH).is_none_or(|key| is_long(&key)), more(from).iter().all(is_long));
    from.check(one, ONE_PATH, format_args!("at least {MIN_LENGTH} characters"));
    from.check(more, MORE_PATH, format_args!("at least {MIN_LENGTH} characters each"));
    read(from)
}

fn more(from: &Reader<'_>) -> Vec<SecretString> {
    let Some(keys) = from.secret(MORE_PATH) else { return Vec::new() };
    let keys = keys.expose_secret().split(',').map(str::trim).filter(|key| !key.is_empty());
    keys.map(SecretString::from).collect()
}
