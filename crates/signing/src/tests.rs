//! The vectors of the contract, round trips, and everything that must not verify.

use proptest::prelude::*;

use super::*;

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WHSK: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const WHPK: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const T: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const V1: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const V1A: &str = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
const HOOK0_T: i64 = 1_636_936_200;
const HOOK0_HEADERS: [(&str, &str); 2] =
    [("x-event-id", "1a01cb48-5142-4d9b-8f90-d20cca61f0ee"), ("x-event-type", "service.resource.verb")];

fn secret(text: &str) -> Secret {
    Secret::parse(text).unwrap()
}

fn signer(texts: &[&str], schemes: &[Scheme]) -> Signer {
    let secrets: Vec<Secret> = texts.iter().map(|text| secret(text)).collect();
    let keys = vec![Ed25519Key::parse(WHSK).unwrap()];
    Signer::new(&secrets, keys, Schemes::new(schemes).unwrap()).unwrap()
}

fn hook0_header(name: &str) -> Option<&'static str> {
    HOOK0_HEADERS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

// === vectors ===

#[test]
fn standard_v1_vector() {
    assert_eq!(signer(&[WHSEC], &[Scheme::Standard]).standard(ID, T, &[BODY]).unwrap(), V1);
}

#[test]
fn ed25519_v1a_vector() {
    assert_eq!(signer(&[WHSEC], &[Scheme::Ed25519]).standard(ID, T, &[BODY]).unwrap(), V1A);
    let key = Ed25519Key::parse(WHSK).unwrap();
    assert_eq!(key.public().to_string(), WHPK);
    assert_eq!(key.expose(), WHSK);
    let headers = StandardHeaders { id: ID, timestamp: "1614265330", signature: V1A };
    Ed25519PublicKey::parse(WHPK).unwrap().verify(&headers, &[BODY], T, 300).unwrap();
}

#[test]
fn hook0_vectors() {
    let signer = signer(&["secret"], &[Scheme::Hook0]);
    assert_eq!(
        signer.hook0_v0(HOOK0_T, &[b"hello !"]),
        "t=1636936200,v0=1b3d69df55f1e52f05224ba94a5162abeb17ef52cd7f4948c390f810d6a87e98"
    );
    let v1 =
        "t=1636936200,h=x-event-id x-event-type,v1=bc521546ba5de381b12f135782d2008b028c3065c191760b12b76850a8fc8f51";
    assert_eq!(signer.hook0_v1(HOOK0_T, &HOOK0_HEADERS, &[b"hello !"]), v1);
    assert_eq!(signer.hook0(HOOK0_T, &HOOK0_HEADERS, &[b"hello !"]).unwrap(), v1);
}

#[test]
fn body_only_vector() {
    // RFC 4231, test case 2.
    let signer = signer(&["Jefe"], &[Scheme::Hook0Body]);
    let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(signer.hook0_body(&[b"what do ya want for nothing?"]), expected);
    assert_eq!(signer.hook0(T, &HOOK0_HEADERS, &[b"what do ya ", b"want for nothing?"]).unwrap(), expected);
}

// === secrets ===

#[test]
fn a_uuid_is_one_key_for_every_scheme() {
    let text = "1a01cb48-5142-4d9b-8f90-d20cca61f0ee";
    let uuid = secret(text);
    assert_eq!(uuid.standard_key(), text.as_bytes());
    assert_eq!(uuid.hook0_key(), text.as_bytes());
    assert_eq!(uuid.display_uuid().to_string(), text);
    assert!(uuid.is_uuid());
    let shown = uuid.signing_secret();
    assert_eq!(*shown, "whsec_MWEwMWNiNDgtNTE0Mi00ZDliLThmOTAtZDIwY2NhNjFmMGVl");
    assert_eq!(secret(&shown).standard_key(), text.as_bytes(), "a Standard Webhooks verifier gets the same key");
}

#[test]
fn a_whsec_is_decoded_for_standard_and_used_as_text_for_hook0() {
    let given = secret(WHSEC);
    assert_eq!(given.standard_key().len(), 24);
    assert_eq!(given.hook0_key(), WHSEC.as_bytes());
    assert_eq!(*given.signing_secret(), WHSEC);
    assert_eq!(given.display_uuid().get_version_num(), 5);
}

#[test]
fn other_texts_are_used_as_given() {
    for text in ["secret", "1A01CB48-5142-4D9B-8F90-D20CCA61F0EE", "{1a01cb48-5142-4d9b-8f90-d20cca61f0ee}", "sälz"] {
        let given = secret(text);
        assert_eq!(given.standard_key(), text.as_bytes());
        assert_eq!(given.hook0_key(), text.as_bytes());
        assert!(!given.is_uuid());
        assert_eq!(given.display_uuid(), secret(text).display_uuid(), "stable");
    }
    assert_eq!(
        secret("secret").display_uuid().to_string(),
        uuid::Uuid::new_v5(&SECRET_NAMESPACE, b"secret").to_string()
    );
}

#[test]
fn a_given_secret_is_trimmed_and_shown_padded() {
    let padded = "whsec_bm9ib2R5IGtub3dzIHRoaXMga2V5IQAAAA==";
    for given in [padded, "whsec_bm9ib2R5IGtub3dzIHRoaXMga2V5IQAAAA", "  whsec_bm9ib2R5IGtub3dzIHRoaXMga2V5IQAAAA\n"] {
        let secret = Secret::given(given).unwrap();
        assert_eq!((secret.expose(), &**secret.signing_secret()), (padded, padded), "{given:?}");
        assert_eq!(secret.hook0_key(), padded.as_bytes(), "what is shown is what signs");
    }
    assert_eq!(Secret::given(" 1a01cb48-5142-4d9b-8f90-d20cca61f0ee ").unwrap().is_uuid(), true);
    assert_eq!(Secret::given("\tmy old secret ").unwrap().expose(), "my old secret");
    let stored = secret("whsec_bm9ib2R5IGtub3dzIHRoaXMga2V5IQAAAA");
    assert_eq!((stored.expose().len(), &**stored.signing_secret()), (padded.len() - 2, padded), "stored texts stay");
}

#[test]
fn near_misses_of_a_whsec_and_short_texts_are_refused_with_a_hint() {
    let key = WHSEC.strip_prefix("whsec_").unwrap();
    for (given, hint) in [
        (format!("v1,{WHSEC}"), "`v1,`"),
        (format!("V1,WHSEC_{key}"), "`v1,`"),
        (format!("WHSEC_{key}"), "lower case"),
        (format!("Whsec_{key}"), "lower case"),
        (format!("whsec-{key}"), "begins with `whsec_`"),
        (format!("\"{WHSEC}\""), "begins with `whsec_`"),
        (format!("secret={WHSEC}"), "begins with `whsec_`"),
        (format!("{WHSEC}_-"), "URL-safe"),
    ] {
        let error = Secret::given(&given).unwrap_err();
        assert!(
            matches!(&error, SigningError::SecretNearMiss { .. }) && error.to_string().contains(hint),
            "{given}: {error}"
        );
        assert!(!error.to_string().contains(key), "no message holds a secret");
    }
    for (given, actual) in [("x", 1), ("  1234567  ", 7)] {
        assert_eq!(Secret::given(given).unwrap_err(), SigningError::SecretTooShort { min: 8, actual });
    }
    assert_eq!(Secret::given(" \t ").unwrap_err(), SigningError::SecretEmpty);
    assert_eq!(Secret::given("12345678").unwrap().expose(), "12345678");
}

#[test]
fn bad_secrets_are_refused_with_their_reason() {
    let refuse = |text: &str| Secret::parse(text).unwrap_err();
    assert_eq!(refuse(""), SigningError::SecretEmpty);
    assert_eq!(refuse(&"x".repeat(513)), SigningError::SecretTooLong { max: 512, actual: 513 });
    assert_eq!(refuse("abc\n"), SigningError::SecretControlCharacter { position: 3 });
    assert_eq!(refuse("whsec_???"), SigningError::SecretNotBase64);
    assert_eq!(refuse("whsec_c2hvcnQ="), SigningError::SecretKeyLength { actual: 5 });
    assert_eq!(refuse(WHSK), SigningError::SecretIsEd25519Key { prefix: "whsk_" });
    assert_eq!(refuse(WHPK), SigningError::SecretIsEd25519Key { prefix: "whpk_" });
}

#[test]
fn generated_secrets_are_lower_case_uuids_and_differ() {
    let (one, two) = (Secret::generate().unwrap(), Secret::generate().unwrap());
    assert!(one != two);
    assert_eq!(secret(one.expose()), one);
    assert!(one.is_uuid());
    assert_eq!(one.display_uuid().get_version_num(), 4);
}

#[test]
fn nothing_prints_a_secret() {
    let printed = format!(
        "{:?} {:?} {:?} {:?}",
        secret("hunter2hunter2"),
        Ed25519Key::parse(WHSK).unwrap(),
        signer(&["hunter2hunter2"], &[Scheme::Standard, Scheme::Ed25519]),
        Verifier::new(&secret("hunter2hunter2")),
    );
    assert!(!printed.contains("hunter2") && !printed.contains("6Xb/dCcH"), "{printed}");
    assert!(printed.contains(WHPK));
}

// === schemes, keys, signers ===

#[test]
fn schemes_are_parsed_and_checked() {
    assert_eq!(Schemes::parse(&["hook0", "standard"]).unwrap(), Schemes::default());
    assert_eq!(Schemes::parse(&["hook0", "hook0_body"]), Err(SigningError::SchemesConflict));
    assert_eq!(Schemes::parse::<&str>(&[]), Err(SigningError::NoScheme));
    assert_eq!(Schemes::parse(&["Hook0"]), Err(SigningError::UnknownScheme { name: "Hook0".to_owned() }));
    let names: Vec<&str> = Schemes::default().iter().map(Scheme::as_str).collect();
    assert_eq!(names, ["standard", "hook0"]);
}

#[test]
fn bad_keys_are_refused_with_their_reason() {
    let refuse = |text: &str| Ed25519Key::parse(text).unwrap_err();
    assert_eq!(refuse(WHPK), SigningError::KeyPrefix { expected: "whsk_" });
    assert_eq!(refuse("whsk_?"), SigningError::KeyNotBase64 { prefix: "whsk_" });
    assert!(matches!(refuse("whsk_AAAA"), SigningError::KeyLength { actual: 3, expected: 64, .. }));
    let swapped = WHSK.replace("1SiA4o9h", "1SiA4o9i").replace("m7TBAg", "x").replace("VKIDij2H", "VKIDij2I");
    assert_eq!(refuse(&swapped), SigningError::KeyMismatch);
    assert!(Ed25519PublicKey::parse("whpk_AAAA").is_err());
}

#[test]
fn generated_ed25519_keys_round_trip() {
    let key = Ed25519Key::generate().unwrap();
    let again = Ed25519Key::parse(key.expose()).unwrap();
    assert_eq!(again.public(), key.public());
    assert_eq!(Ed25519PublicKey::parse(&key.public().to_string()).unwrap(), key.public());
}

#[test]
fn what_is_off_is_not_sent() {
    assert!(signer(&["s"], &[Scheme::Hook0]).standard(ID, T, &[BODY]).is_none());
    assert!(signer(&["s"], &[Scheme::Standard]).hook0(T, &HOOK0_HEADERS, &[BODY]).is_none());
    let without_key = Signer::new(&[secret("s")], Vec::new(), Schemes::parse(&["ed25519"]).unwrap());
    assert_eq!(without_key.unwrap_err(), SigningError::NoEd25519Key);
    assert_eq!(Signer::new(&[], Vec::new(), Schemes::default()).unwrap_err(), SigningError::NoSecret);
}

#[test]
fn during_a_rotation_every_secret_signs_standard_and_the_oldest_signs_hook0() {
    let signer = signer(&["new", "old"], &[Scheme::Standard, Scheme::Hook0, Scheme::Ed25519]);
    let value = signer.standard(ID, T, &[BODY]).unwrap();
    let versions: Vec<&str> = value.split(' ').map(|entry| entry.split_once(',').unwrap().0).collect();
    assert_eq!(versions, ["v1", "v1", "v1a"]);
    let headers = StandardHeaders { id: ID, timestamp: "1614265330", signature: &value };
    for text in ["new", "old"] {
        Verifier::new(&secret(text)).standard(&headers, &[BODY], T).unwrap();
    }
    let hook0 = signer.hook0(T, &HOOK0_HEADERS, &[BODY]).unwrap();
    Verifier::new(&secret("old")).hook0_v1(&hook0, hook0_header, &[BODY], T).unwrap();
    let with_new = Verifier::new(&secret("new")).hook0_v1(&hook0, hook0_header, &[BODY], T);
    assert_eq!(with_new, Err(SigningError::NoMatch));
}

// === verifying ===

#[test]
fn timestamps_outside_the_tolerance_are_refused() {
    let verifier = Verifier::new(&secret(WHSEC)).with_tolerance_s(60);
    let headers = |timestamp| StandardHeaders { id: ID, timestamp, signature: V1 };
    let check = |timestamp, now| verifier.standard(&headers(timestamp), &[BODY], now);
    assert_eq!(check("1614265330", T + 60), Ok(()));
    assert_eq!(check("1614265330", T - 60), Ok(()));
    assert_eq!(check("1614265330", T + 61), Err(SigningError::TimestampTooOld { age_s: 61, tolerance_s: 60 }));
    assert_eq!(check("1614265330", T - 61), Err(SigningError::TimestampTooNew { ahead_s: 61, tolerance_s: 60 }));
    assert_eq!(check("1614265331", T), Err(SigningError::NoMatch));
    for malformed in ["", "+1614265330", " 1614265330", "1614265330.0", "99999999999999999999"] {
        assert_eq!(check(malformed, T), Err(SigningError::TimestampMalformed), "{malformed}");
    }
}

#[test]
fn hook0_refuses_what_it_cannot_read() {
    let verifier = Verifier::new(&secret("secret"));
    let check =
        |signature: &'static str| verifier.hook0_v1(signature, hook0_header, &[b"hello !"], HOOK0_T).unwrap_err();
    for signature in
        ["", "t=1636936200", "t=1636936200,v1=00", "h=x-event-id,v1=00", "t=1,t=2,h=,v1=00", "t=1636936200,h=,v1=zz"]
    {
        assert!(matches!(check(signature), SigningError::SignatureMalformed { .. }), "{signature}");
    }
    let missing = SigningError::HeaderMissing { name: "x-other".to_owned() };
    assert_eq!(check("t=1636936200,h=x-other,v1=00"), missing);
    let v0 = signer(&["secret"], &[Scheme::Hook0]).hook0_v0(HOOK0_T, &[b"hello !"]);
    verifier.hook0_v0(&v0, &[b"hello !"], HOOK0_T).unwrap();
    assert!(verifier.hook0_v0(&v0, &[b"hello ?"], HOOK0_T).is_err());
    let downgraded = verifier.hook0_v1(&v0, hook0_header, &[b"hello !"], HOOK0_T);
    assert!(matches!(downgraded, Err(SigningError::SignatureMalformed { .. })), "v0 never passes as v1");
}

#[test]
fn a_changed_header_does_not_verify() {
    let value = signer(&["secret"], &[Scheme::Hook0]).hook0_v1(HOOK0_T, &HOOK0_HEADERS, &[b"hello !"]);
    let changed =
        |name: &str| (name == "x-event-type").then_some("service.resource.other").or_else(|| hook0_header(name));
    let result = Verifier::new(&secret("secret")).hook0_v1(&value, changed, &[b"hello !"], HOOK0_T);
    assert_eq!(result, Err(SigningError::NoMatch));
}

#[test]
fn an_entry_of_another_version_or_damaged_base64_does_not_verify() {
    let verifier = Verifier::new(&secret(WHSEC));
    for signature in ["", V1A, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1,g0hM", "v1", "v1,"] {
        let headers = StandardHeaders { id: ID, timestamp: "1614265330", signature };
        assert_eq!(verifier.standard(&headers, &[BODY], T), Err(SigningError::NoMatch), "{signature}");
    }
    let among_others = format!("v1,AAAA v9,x {V1}");
    let headers = StandardHeaders { id: ID, timestamp: "1614265330", signature: &among_others };
    verifier.standard(&headers, &[BODY], T).unwrap();
}

fn any_secret() -> impl Strategy<Value = Secret> {
    prop_oneof![
        any::<u128>().prop_map(|bits| secret(&uuid::Uuid::from_u128(bits).to_string())),
        proptest::collection::vec(any::<u8>(), 24..=64).prop_map(|key| {
            use base64::Engine;
            secret(&format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(key)))
        }),
        "[ -~]{1,80}".prop_map(|text| Secret::parse(&text).unwrap_or_else(|_| secret("fallback"))),
    ]
}

proptest! {
    #[test]
    fn signing_and_verifying_agree_and_a_changed_body_fails(
        secret in any_secret(),
        body in proptest::collection::vec(any::<u8>(), 1..2000),
        cut in any::<prop::sample::Index>(),
        flip in any::<prop::sample::Index>(),
        t in 0_i64..4_000_000_000,
        id in "[!-~&&[^.]]{1,64}",
        kind in "[a-z_.]{1,40}",
    ) {
        let schemes = Schemes::parse(&["standard", "hook0", "ed25519"]).unwrap();
        let key = Ed25519Key::parse(WHSK).unwrap();
        let public = key.public();
        let signer = Signer::new(std::slice::from_ref(&secret), vec![key], schemes).unwrap();
        let verifier = Verifier::new(&secret);
        let (left, right) = body.split_at(cut.index(body.len()));
        let headers = [("x-event-id", id.as_str()), ("x-event-type", kind.as_str())];
        let find = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);

        let standard = signer.standard(&id, t, &[left, right]).unwrap();
        let hook0 = signer.hook0(t, &headers, &[left, right]).unwrap();
        let v0 = signer.hook0_v0(t, &[left, right]);
        let only = signer.hook0_body(&[left, right]);
        let timestamp = t.to_string();
        let received = StandardHeaders { id: &id, timestamp: &timestamp, signature: &standard };
        prop_assert_eq!(verifier.standard(&received, &[&body], t), Ok(()));
        prop_assert_eq!(public.verify(&received, &[&body], t, 0), Ok(()));
        prop_assert_eq!(verifier.hook0_v1(&hook0, find, &[&body], t), Ok(()));
        prop_assert_eq!(verifier.hook0_v0(&v0, &[&body], t), Ok(()));
        prop_assert_eq!(verifier.hook0_body(&only, &[&body]), Ok(()));

        let mut tampered = body.clone();
        tampered[flip.index(body.len())] ^= 1;
        let tampered: Body<'_> = &[&tampered];
        prop_assert_eq!(verifier.standard(&received, tampered, t), Err(SigningError::NoMatch));
        prop_assert_eq!(public.verify(&received, tampered, t, 0), Err(SigningError::NoMatch));
        prop_assert_eq!(verifier.hook0_v1(&hook0, find, tampered, t), Err(SigningError::NoMatch));
        prop_assert_eq!(verifier.hook0_v0(&v0, tampered, t), Err(SigningError::NoMatch));
        prop_assert_eq!(verifier.hook0_body(&only, tampered), Err(SigningError::NoMatch));
    }

    #[test]
    fn arbitrary_signatures_never_verify_and_never_panic(signature in "\\PC{0,200}", timestamp in "\\PC{0,20}") {
        let verifier = Verifier::new(&secret("secret"));
        let headers = StandardHeaders { id: ID, timestamp: &timestamp, signature: &signature };
        prop_assert!(verifier.standard(&headers, &[BODY], T).is_err());
        prop_assert!(verifier.hook0_v1(&signature, hook0_header, &[BODY], T).is_err());
        prop_assert!(verifier.hook0_v0(&signature, &[BODY], T).is_err());
        prop_assert!(verifier.hook0_body(&signature, &[BODY]).is_err());
    }
}
