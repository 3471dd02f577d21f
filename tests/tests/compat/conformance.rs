//! The vectors of the SDKs and those of Standard Webhooks, in `sdks/conformance`, read by our own verifier: three languages, one verdict.
//!
//! A verifier here takes one secret and one form at a time, so this tries every secret on every form that a request carries, as a
//! receiver does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use signing::{DEFAULT_TOLERANCE_S, Ed25519PublicKey, Secret, SigningError, StandardHeaders, Verifier};

const VECTORS: &str = include_str!("../../../sdks/conformance/signatures.json");
/// What the reference libraries publish.
const PUBLIC: &str = include_str!("../../../sdks/conformance/standard-webhooks.json");

/// A vector with its headers by lower-case name.
struct SignedVector<'a> {
    headers: Vec<(String, &'a str)>,
    body: Vec<u8>,
    now: i64,
    tolerance_s: i64,
}

impl<'a> SignedVector<'a> {
    fn read(vector: &'a Value) -> Self {
        let text = |value: &'a Value| value.as_str().expect("a text");
        let pairs = vector["headers"].as_array().expect("a list").iter();
        let body = vector["body_base64"].as_str().map_or_else(
            || text(&vector["body"]).as_bytes().to_vec(),
            |encoded| STANDARD.decode(encoded).expect("base64"),
        );
        Self {
            headers: pairs.map(|pair| (text(&pair[0]).to_lowercase(), text(&pair[1]))).collect(),
            body,
            now: vector["now"].as_i64().expect("unix seconds"),
            tolerance_s: vector["tolerance"].as_i64().unwrap_or(DEFAULT_TOLERANCE_S),
        }
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| *value)
    }

    /// What signed it, or why nothing did: the first reason.
    fn verdict(&self, secrets: &[&str]) -> Result<&'static str, &'static str> {
        let mut refused = None;
        for result in secrets.iter().flat_map(|secret| self.checks(secret)) {
            match result {
                Ok(signed_by) => return Ok(signed_by),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        Err(refused.unwrap_or("missing"))
    }

    /// A result for each form that the request carries and this secret can check.
    fn checks(&self, secret: &str) -> Vec<Result<&'static str, &'static str>> {
        let body: &[&[u8]] = &[&self.body];
        let mut results = Vec::new();
        if let Some(signature) = self.header("webhook-signature") {
            results.push(match (self.header("webhook-id"), self.header("webhook-timestamp")) {
                (Some(id), Some(timestamp)) => self.standard(secret, &StandardHeaders { id, timestamp, signature }),
                _ => Err("missing"),
            });
        }
        let shared = (!secret.starts_with("whpk_")).then(|| self.verifier(secret));
        if let (Some(signature), Some(verifier)) = (self.header("x-hook0-signature"), shared) {
            results.push(if signature.starts_with("sha256=") {
                said("hook0_body", verifier.hook0_body(signature, body))
            } else {
                said("hook0", verifier.hook0_v1(signature, |name| self.header(name), body, self.now))
            });
        }
        results
    }

    fn standard(&self, secret: &str, headers: &StandardHeaders<'_>) -> Result<&'static str, &'static str> {
        let body: &[&[u8]] = &[&self.body];
        if secret.starts_with("whpk_") {
            let key = Ed25519PublicKey::parse(secret).expect("a public key");
            return said("ed25519", key.verify(headers, body, self.now, self.tolerance_s));
        }
        said("standard", self.verifier(secret).standard(headers, body, self.now))
    }

    fn verifier(&self, secret: &str) -> Verifier {
        Verifier::new(&Secret::parse(secret).expect("a secret")).with_tolerance_s(self.tolerance_s)
    }
}

/// A result in the words of the vectors.
fn said(signed_by: &'static str, result: Result<(), SigningError>) -> Result<&'static str, &'static str> {
    result.map(|()| signed_by).map_err(|error| {
        let is = |known: bool, word: &'static str| known.then_some(word);
        is(matches!(error, SigningError::TimestampTooOld { .. }), "too_old")
            .or_else(|| is(matches!(error, SigningError::TimestampTooNew { .. }), "too_new"))
            .or_else(|| is(matches!(error, SigningError::HeaderMissing { .. }), "missing"))
            .or_else(|| is(matches!(error, SigningError::NoMatch), "no_match"))
            .unwrap_or("malformed")
    })
}

fn verdict(vector: &Value) -> Result<&'static str, &'static str> {
    let secrets = vector["secrets"].as_array().expect("a list").iter().filter_map(Value::as_str);
    SignedVector::read(vector).verdict(&secrets.collect::<Vec<_>>())
}

fn vectors(text: &str) -> Vec<Value> {
    let read: Value = serde_json::from_str(text).expect("the vectors are JSON");
    let vectors = read["vectors"].as_array().expect("a list").iter();
    // The others are about what the SDKs have beside the forms: several headers of one name, a form that is refused on demand.
    vectors.filter(|vector| vector["only"] != "sdk").cloned().collect()
}

#[test]
fn the_verifier_of_the_server_says_what_the_sdks_say() {
    for (text, least) in [(VECTORS, 60), (PUBLIC, 20)] {
        let vectors = vectors(text);
        assert!(vectors.len() > least, "only {} vectors", vectors.len());
        for vector in &vectors {
            let wanted =
                vector["accepted"]["signed_by"].as_str().ok_or_else(|| vector["refused"].as_str().expect("why"));
            assert_eq!(verdict(vector), wanted, "{}", vector["name"]);
        }
    }
}

#[test]
fn an_error_planted_in_a_vector_is_found() {
    let accepted =
        vectors(VECTORS).into_iter().filter(|vector| vector["accepted"].is_object() && vector["body"].is_string());
    let mut planted = 0;
    for mut vector in accepted.take(10) {
        vector["body"] = Value::from(format!("{} ", vector["body"].as_str().expect("a text")));
        assert_eq!(verdict(&vector), Err("no_match"), "{}", vector["name"]);
        planted += 1;
    }
    assert_eq!(planted, 10);
}
