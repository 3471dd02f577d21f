//! Round trips, what must not open, and that nothing prints a secret.

use proptest::prelude::*;

use super::*;

const LOOKUP: [u8; KEY_BYTES] = [7; KEY_BYTES];
const CONTEXT: &str = "subscription/app/1";

fn vault(ids: &[(&str, u8)]) -> Vault {
    let keys: Vec<EncryptionKey> = ids.iter().map(|(id, byte)| EncryptionKey::new(*id, [*byte; KEY_BYTES])).collect();
    Vault::new(&keys, &LOOKUP).unwrap()
}

#[test]
fn an_envelope_opens_under_its_context_and_no_other() {
    let vault = vault(&[("k1", 1)]);
    let sealed = vault.seal(CONTEXT, b"whsec_abc").unwrap();
    assert_eq!(*vault.open(CONTEXT, &sealed).unwrap(), b"whsec_abc");
    assert_eq!(*vault.open_text(CONTEXT, &sealed).unwrap(), "whsec_abc");
    let moved = vault.open("subscription/app/2", &sealed).unwrap_err();
    assert_eq!(moved, VaultError::DoesNotOpen { kid: "k1".to_owned(), context: "subscription/app/2".to_owned() });
}

#[test]
fn after_a_rotation_old_envelopes_open_and_are_not_current() {
    let before = vault(&[("old", 1)]);
    let sealed = before.seal(CONTEXT, b"x").unwrap();
    let after = vault(&[("new", 2), ("old", 1)]);
    assert_eq!(*after.open(CONTEXT, &sealed).unwrap(), b"x");
    assert!(before.is_current(&sealed) && !after.is_current(&sealed));
    let again = after.seal(CONTEXT, b"x").unwrap();
    assert!(after.is_current(&again));
    assert_eq!(again.kid, "new");
    assert_eq!(after.current_id(), "new");
    assert_eq!(after.key_ids().collect::<Vec<_>>(), ["new", "old"]);
    let unknown = before.open(CONTEXT, &again).unwrap_err();
    assert!(unknown.to_string().contains("the key `new`"), "{unknown}");
    assert_eq!(before.lookup("token"), after.lookup("token"), "lookups outlive a rotation");
}

#[test]
fn another_key_of_the_same_id_does_not_open() {
    let sealed = vault(&[("k1", 1)]).seal(CONTEXT, b"x").unwrap();
    assert!(matches!(vault(&[("k1", 2)]).open(CONTEXT, &sealed), Err(VaultError::DoesNotOpen { .. })));
}

#[test]
fn envelopes_are_compact_json_and_strict() {
    let vault = vault(&[("k1", 1)]);
    let sealed = vault.seal(CONTEXT, b"").unwrap();
    let json = serde_json::to_string(&sealed).unwrap();
    assert!(json.starts_with(r#"{"kid":"k1","nonce":""#), "{json}");
    let back: Sealed = serde_json::from_str(&json).unwrap();
    assert_eq!(back, sealed);
    for bad in [
        r#"{"kid":"k1","nonce":"AAAA","ct":""}"#,
        r#"{"kid":"k1","nonce":"AAAAAAAAAAAAAAAA","ct":"?"}"#,
        r#"{"kid":"k1","nonce":"AAAAAAAAAAAAAAAA","ct":"","x":1}"#,
        r#"{"kid":"k1","ct":""}"#,
    ] {
        assert!(serde_json::from_str::<Sealed>(bad).is_err(), "{bad}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_as_text() {
    let vault = vault(&[("k1", 1)]);
    let sealed = vault.seal(CONTEXT, &[0xff]).unwrap();
    let context = CONTEXT.to_owned();
    assert_eq!(vault.open_text(CONTEXT, &sealed).unwrap_err(), VaultError::NotText { context });
}

#[test]
fn keys_are_parsed_and_checked() {
    let one = generate_key().unwrap();
    let two = generate_key().unwrap();
    assert_ne!(*one, *two);
    let keys = parse_keys(&format!("2026-11:{}, 2026-05:{}\n", one.trim_end_matches('='), *two)).unwrap();
    let ids: Vec<&str> = keys.iter().map(EncryptionKey::id).collect();
    assert_eq!(ids, ["2026-11", "2026-05"]);
    Vault::new(&keys, &parse_lookup_key(&one).unwrap()).unwrap();

    let zeros = format!("{}=", "A".repeat(43));
    assert_eq!(parse_keys(" , "), Err(VaultError::NoKeys));
    assert_eq!(parse_keys("abc"), Err(VaultError::KeyForm { position: 1 }));
    assert_eq!(parse_keys(&format!("a b:{}", *one)), Err(VaultError::KeyForm { position: 1 }));
    assert_eq!(parse_keys(&format!("ä:{}", *one)), Err(VaultError::KeyId { position: 1 }));
    assert_eq!(parse_keys("k:??"), Err(VaultError::KeyNotBase64 { key: "k".to_owned() }));
    assert_eq!(parse_keys("k:AAAA"), Err(VaultError::KeyLength { key: "k".to_owned(), actual: 3 }));
    assert_eq!(parse_keys(&format!("k:{zeros}")), Err(VaultError::KeyZero { key: "k".to_owned() }));
    assert_eq!(parse_lookup_key(&zeros).unwrap_err(), VaultError::KeyZero { key: "lookup".to_owned() });
}

#[test]
fn a_vault_checks_its_keys() {
    let refuse = |keys: &[(&str, u8)]| {
        let keys: Vec<EncryptionKey> =
            keys.iter().map(|(id, byte)| EncryptionKey::new(*id, [*byte; KEY_BYTES])).collect();
        Vault::new(&keys, &LOOKUP).unwrap_err()
    };
    assert_eq!(refuse(&[]), VaultError::NoKeys);
    assert_eq!(refuse(&[("", 1)]), VaultError::KeyId { position: 1 });
    assert_eq!(refuse(&[("k", 1), ("k", 2)]), VaultError::KeyTwice { kid: "k".to_owned() });
    assert_eq!(refuse(&[("k", 0)]), VaultError::KeyZero { key: "k".to_owned() });
    let zero_lookup = Vault::new(&[EncryptionKey::new("k", [1; KEY_BYTES])], &[0; KEY_BYTES]).unwrap_err();
    assert_eq!(zero_lookup, VaultError::KeyZero { key: "lookup".to_owned() });
}

#[test]
fn lookup_hashes_never_change() {
    // Frozen: a change here orphans every stored token.
    let hash = vault(&[("k1", 1)]).lookup("token");
    assert_eq!(hash.to_string(), "466ce0c41b873c8ed030987ba5e067d78e5294e91c9b7c4100c69eb8e34a363d");
    let json = serde_json::to_string(&hash).unwrap();
    assert_eq!(json, format!("\"{hash}\""));
    assert_eq!(serde_json::from_str::<LookupHash>(&json).unwrap(), hash);
    assert!(hash.to_string().to_uppercase().parse::<LookupHash>().is_err());
    assert!("ab".parse::<LookupHash>().is_err());
    let other = Vault::new(&[EncryptionKey::new("k", [1; KEY_BYTES])], &[8; KEY_BYTES]).unwrap();
    assert_ne!(other.lookup("token"), hash, "another lookup key, another hash");
}

#[test]
fn nothing_prints_a_key() {
    let keys = [EncryptionKey::new("k1", [0xab; KEY_BYTES])];
    let printed = format!("{:?} {:?}", keys[0], Vault::new(&keys, &LOOKUP).unwrap());
    assert!(printed.contains("k1") && !printed.contains("171") && !printed.contains("ab, ab"), "{printed}");
    let hash = vault(&[("k1", 1)]).lookup("token");
    assert!(!format!("{hash:?}").contains(&hash.to_string()));
}

#[test]
fn random_values_have_their_form_and_differ() {
    let (one, two) = (random_uuid().unwrap(), random_uuid().unwrap());
    assert_ne!(one, two);
    assert_eq!(one.get_version_num(), 4);
    let token = random_token_256().unwrap();
    assert_eq!(token.len(), 43);
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    assert_ne!(*token, *random_token_256().unwrap());
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_and_nothing_altered_does(
        plain in proptest::collection::vec(any::<u8>(), 0..300),
        context in "\\PC{0,60}",
        flip in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let vault = vault(&[("k1", 1)]);
        let sealed = vault.seal(&context, &plain).unwrap();
        prop_assert_eq!(&*vault.open(&context, &sealed).unwrap(), &plain);
        prop_assert_ne!(vault.seal(&context, &plain).unwrap().nonce, sealed.nonce);

        let mut altered = sealed.clone();
        let index = flip.index(altered.ct.len() + altered.nonce.len());
        match index.checked_sub(altered.nonce.len()) {
            Some(index) => altered.ct[index] ^= 1 << bit,
            None => altered.nonce[index] ^= 1 << bit,
        }
        prop_assert!(vault.open(&context, &altered).is_err());
        let mut cut = sealed;
        cut.ct.truncate(flip.index(cut.ct.len()));
        prop_assert!(vault.open(&context, &cut).is_err());
    }
}
