//! `[security]`: the keys under which secrets rest in the `control` topic. `vault` reads their text; here they only travel.

use secrecy::SecretString;

use super::error::{ConfigError, Problem};
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use super::value::Origin;

pub(super) const SECTION: Section = Section {
    name: "security",
    about: "The keys under which secrets rest in Kafka. Every role but the retry scheduler needs them, the same ones \
            everywhere; `hookbus dev` makes its own.",
    keys: KEYS,
};

const ENCRYPTION_KEYS: &str = "security.encryption_keys";
const LOOKUP_KEY: &str = "security.lookup_key";

const KEYS: &[Key] = &[
    Key {
        path: ENCRYPTION_KEYS,
        kind: Kind::Secret,
        default: "",
        title: "Encryption keys",
        effect: "`id:base64` with 32 random bytes each (`openssl rand -base64 32`), separated by commas or a list. The \
                 first one encrypts, all of them decrypt. To rotate while serving: add the new one behind the old one and \
                 restart every process; put it first and restart them again; when the metric \
                 `hookbus_control_sealed_objects` is 0 for the old one, remove that.",
    },
    Key {
        path: LOOKUP_KEY,
        kind: Kind::Secret,
        default: "",
        title: "Lookup key",
        effect: "Base64 of 32 random bytes under which tokens are hashed to be found. It is never rotated: with another \
                 one no token is known any more.",
    },
];

/// The `[security]` section.
#[derive(Clone, Debug, Default)]
pub struct SecurityConfig {
    /// `id:base64,id:base64`, the current one first; for `vault::parse_keys`.
    pub encryption_keys: Option<SecretString>,
    /// Base64 of 32 bytes; for `vault::parse_lookup_key`.
    pub lookup_key: Option<SecretString>,
}

/// Both keys, there.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// `id:base64,id:base64`, the current one first.
    pub encryption_keys: &'a SecretString,
    /// Base64 of 32 bytes.
    pub lookup_key: &'a SecretString,
}

impl SecurityConfig {
    /// The keys, for the roles that cannot work without.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] that names what is missing.
    pub fn required(&self) -> Result<Keys<'_>, ConfigError> {
        match (&self.encryption_keys, &self.lookup_key) {
            (Some(encryption_keys), Some(lookup_key)) => Ok(Keys { encryption_keys, lookup_key }),
            (encryption_keys, lookup_key) => {
                let keys = [(ENCRYPTION_KEYS, encryption_keys.is_none()), (LOOKUP_KEY, lookup_key.is_none())];
                Err(ConfigError::Invalid(keys.into_iter().filter(|(_, missing)| *missing).map(missing).collect()))
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        Self { encryption_keys: from.secret(ENCRYPTION_KEYS), lookup_key: from.secret(LOOKUP_KEY) }
    }
}

fn missing((path, _): (&str, bool)) -> Problem {
    let message = "not set, but this role needs it: 32 random bytes as base64 (openssl rand -base64 32)".to_owned();
    Problem { key: path.to_owned(), origin: Origin::Default, message }
}
