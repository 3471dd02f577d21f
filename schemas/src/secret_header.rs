//! Names of HTTP headers whose values are never shown: in no answer of an API, and in no record.

/// Values of these are secret.
const NAMES: [&str; 1] = ["cookie"];
/// So are those of names with one of these in them.
const PARTS: [&str; 7] = ["auth", "key", "password", "secret", "session", "signature", "token"];

/// Whether the value of a header with this name, in lower case, is always a secret, listed or not.
#[must_use]
pub fn is_always_secret(name: &str) -> bool {
    NAMES.contains(&name) || PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_sounds_like_a_secret_is_one() {
        for name in ["authorization", "cookie", "x-api-key", "apikey", "x-auth-token", "x-client-secret"] {
            assert!(is_always_secret(name), "{name}");
        }
        assert!(!is_always_secret("x-tenant"));
    }
}
