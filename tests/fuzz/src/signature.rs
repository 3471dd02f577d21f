//! Signature headers: `id|signature|body`. What was not signed here is accepted in no form, and what was is.

use std::sync::OnceLock;

use signing::{Ed25519Key, Ed25519PublicKey, Scheme, Schemes, Secret, Signer, StandardHeaders, Verifier};

const NOW: i64 = 1_700_000_000;
const SECRET: &str = "0b5e55ed-0000-4000-8000-000000000001";
/// Only so many entries of `webhook-signature` are looked at.
const ENTRIES: usize = 32;

struct Keys {
    signer: Signer,
    verifier: Verifier,
    public: Ed25519PublicKey,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let secret = Secret::parse(SECRET).expect("a UUID is a secret");
        let key = Ed25519Key::generate().expect("the system has random bytes");
        let public = key.public();
        let schemes = Schemes::new(&[Scheme::Standard, Scheme::Hook0, Scheme::Ed25519]).expect("they go together");
        let verifier = Verifier::new(&secret);
        let signer = Signer::new(&[secret], vec![key], schemes).expect("it has a secret and a key");
        Keys { signer, verifier, public }
    })
}

pub(crate) fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut parts = text.splitn(3, '|');
    let (id, signature) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let body = parts.next().unwrap_or_default();
    secrets(signature);
    strangers(id, signature, body);
    ours(id, signature, body);
    !signature.is_empty()
}

/// Signatures from outside: accepted exactly where they are what we would have written.
fn strangers(id: &str, signature: &str, body: &str) {
    let Keys { signer, verifier, public } = keys();
    let body: signing::Body<'_> = &[body.as_bytes()];
    let timestamp = NOW.to_string();
    let headers = StandardHeaders { id, timestamp: &timestamp, signature };
    let signed = signer.standard(id, NOW, body).expect("both are on");
    let (v1, v1a) = signed.split_once(' ').expect("two entries");
    let has = |entry: &str| signature.split(' ').take(ENTRIES).any(|given| given == entry);
    assert_eq!(verifier.standard(&headers, body, NOW).is_ok(), has(v1));
    assert_eq!(public.verify(&headers, body, NOW, 300).is_ok(), has(v1a));
    // Hex in either case is the same bytes.
    let is_written = signature.to_ascii_lowercase() == signer.hook0_body(body) && signature.starts_with("sha256=");
    assert_eq!(verifier.hook0_body(signature, body).is_ok(), is_written);
    let digits = |written: &str| written.rsplit('=').next().unwrap_or_default().to_owned();
    let lower = signature.to_ascii_lowercase();
    if verifier.hook0_v0(signature, body, NOW).is_ok() {
        let of = |t: i64| lower.contains(&digits(&signer.hook0_v0(t, body)));
        assert!((NOW - 300..=NOW + 300).any(of), "`{signature}` was accepted");
    }
    let value = |name: &str| ["content-type", "x-event-id"].contains(&name).then_some("v");
    if verifier.hook0_v1(signature, value, body, NOW).is_ok() {
        assert!(lower.contains(",v1=") || lower.starts_with("v1="), "`{signature}` was accepted");
    }
}

/// Our own: accepted, and refused as soon as id or body is another.
fn ours(id: &str, more: &str, body: &str) {
    let Keys { signer, verifier, public } = keys();
    let timestamp = NOW.to_string();
    let (one, other): (signing::Body<'_>, signing::Body<'_>) = (&[body.as_bytes()], &[body.as_bytes(), b"!"]);
    let signed = signer.standard(id, NOW, one).expect("both are on");
    // A stranger's entries beside ours change nothing, as long as they are not too many.
    let beside = format!("{signed} {more}");
    let headers = StandardHeaders { id, timestamp: &timestamp, signature: &beside };
    assert_eq!(verifier.standard(&headers, one, NOW), Ok(()));
    assert_eq!(public.verify(&headers, one, NOW, 300), Ok(()));
    let headers = StandardHeaders { id, timestamp: &timestamp, signature: &signed };
    assert!(verifier.standard(&headers, other, NOW).is_err() && public.verify(&headers, other, NOW, 300).is_err());
    assert!(verifier.standard(&headers, one, NOW + 301).is_err());

    let pairs = [("content-type", more), ("x-event-id", id)];
    let header = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let signed = signer.hook0_v1(NOW, &pairs, one);
    assert_eq!(verifier.hook0_v1(&signed, header, one, NOW), Ok(()));
    assert!(verifier.hook0_v1(&signed, header, other, NOW).is_err());
    assert!(verifier.hook0_v1(&signed, |name| header(name).filter(|_| name != "x-event-id"), one, NOW).is_err());
    assert_eq!(verifier.hook0_v0(&signer.hook0_v0(NOW, one), one, NOW), Ok(()));
    assert_eq!(verifier.hook0_body(&signer.hook0_body(one), one), Ok(()));
}

/// A text that is taken as a secret is one again when it is stored and read, and signs as what is shown of it.
fn secrets(text: &str) {
    let Ok(secret) = Secret::given(text) else { return };
    let stored = Secret::parse(secret.expose()).expect("what was given is stored and read");
    assert!(stored == secret);
    assert_eq!(stored.display_uuid(), secret.display_uuid());
    let sign = |secret: &Secret| {
        let schemes = Schemes::new(&[Scheme::Standard]).expect("one scheme");
        let signer = Signer::new(std::slice::from_ref(secret), Vec::new(), schemes).expect("it has a secret");
        signer.standard("id", NOW, &[b"body"])
    };
    assert_eq!(sign(&stored), sign(&secret));
    // What Standard Webhooks' verifiers are given, where its key has a length that they take.
    if let Ok(shown) = Secret::parse(&secret.signing_secret()) {
        assert_eq!(sign(&shown), sign(&secret));
    }
}
