//! What a request that carried an `Idempotency-Key` was answered, kept for a while: a repeat of it gets the same answer and does
//! nothing. It stands on `control`, in the transaction of what the request changed, so the two are there together or not at all.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{AnswerId, OrganizationId};

/// How long answers are kept, ms: 24 h.
pub const KEPT_MS: i64 = 24 * 3_600_000;

/// One answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// Stands for who asked, what path, and the key: a keyed hash, so that it tells none of them.
    pub answer_id: AnswerId,
    /// The organization whose token asked; absent is the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<OrganizationId>,
    /// Keyed hash of the query and the body, lower-case hex: a repeat has the same.
    pub request: String,
    /// When it was answered, Unix ms.
    pub at_ms: i64,
    /// What the answer shows, as JSON: a control object as it was written, with its secrets sealed.
    pub answer: String,
}

// === impl KeptAnswer ===

impl KeptAnswer {
    /// Whether it still stands at `now_ms`.
    #[must_use]
    pub fn is_kept(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.at_ms) < KEPT_MS
    }

    /// Ids of the encryption keys that are needed to show it.
    #[must_use]
    pub fn key_ids(&self) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        if let Ok(answer) = serde_json::from_str(&self.answer) {
            collect(&answer, &mut ids);
        }
        ids
    }
}

impl std::fmt::Debug for KeptAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { answer_id, organization_id, at_ms, .. } = self;
        write!(f, "KeptAnswer({answer_id} of {organization_id:?}, at {at_ms})")
    }
}

/// A sealed value is an object with these three fields. The parser's depth limit bounds the recursion.
fn collect(value: &Value, ids: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let (Some(Value::String(kid)), true, true) =
                (fields.get("kid"), fields.contains_key("nonce"), fields.contains_key("ct"))
            {
                ids.insert(kid.clone());
            }
            fields.values().for_each(|field| collect(field, ids));
        }
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::control::{ControlKey, ControlObject};

    fn kept(answer: &str) -> KeptAnswer {
        let answer_id = AnswerId(Uuid::from_u128(7));
        let (request, answer) = ("00".to_owned(), answer.to_owned());
        KeptAnswer { answer_id, organization_id: None, request, at_ms: 1_000, answer }
    }

    #[test]
    fn it_stands_under_its_owner_and_its_id_for_a_day() {
        let mut object = kept("{}");
        for (owner, scope) in [(None, "-".to_owned()), (Some(Uuid::from_u128(9)), Uuid::from_u128(9).to_string())] {
            object.organization_id = owner.map(OrganizationId);
            let key = ControlObject::KeptAnswer(object.clone()).key();
            assert_eq!(key.to_string(), format!("answer/{scope}/{}", Uuid::from_u128(7)));
            assert_eq!(ControlKey::parse(&key.to_string()), Some(key.clone()));
            let encoded = ControlObject::KeptAnswer(object.clone()).encode().unwrap();
            assert_eq!(ControlObject::decode(&key, &encoded).unwrap(), ControlObject::KeptAnswer(object.clone()));
        }
        assert!(object.is_kept(999 + KEPT_MS));
        assert!(!object.is_kept(1_000 + KEPT_MS));
        assert_eq!(ControlKey::parse("answer/x/00000000-0000-0000-0000-000000000007"), None);
    }

    #[test]
    fn it_knows_which_keys_it_was_sealed_with() {
        let sealed = |kid: &str| format!(r#"{{"kid":"{kid}","nonce":"a","ct":"b"}}"#);
        let answer = format!(r#"{{"kid":"none","secrets":[{{"sealed":{}}}],"token":{}}}"#, sealed("k1"), sealed("k2"));
        assert_eq!(kept(&answer).key_ids().into_iter().collect::<Vec<_>>(), ["k1", "k2"]);
    }
}
