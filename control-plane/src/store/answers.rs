//! What a write with an `Idempotency-Key` keeps for its repeats: the answer of its decision, as a record of the same transaction.
//!
//! An answer is kept for a day, and no longer than its owner's next 10,000: the oldest go first, an organization's for its own, and
//! beyond what all may have together those of whoever has most. A control object is kept as it was written, with its secrets
//! sealed, and shown again from that.

use catalog::{KeptAmount, Snapshot};
use schemas::control::{ControlKey, ControlObject, KeptAnswer};
use schemas::ids::{AnswerId, OrganizationId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::idempotency::reused;
use crate::problem::{Problem, internal};
use crate::store::Change;

/// Of one organization, or of the operator.
const OF_ONE: KeptAmount = KeptAmount { count: 10_000, bytes: 16 * 1024 * 1024 };
/// Of all of them, in the memory of every control plane.
const OF_ALL: KeptAmount = KeptAmount { count: 100_000, bytes: 128 * 1024 * 1024 };
/// Old ones that go with one that comes. More than one, so that a limit is reached again after large ones.
const GO_AT_ONCE: usize = 8;

/// How a write's answer is kept and found again.
#[derive(Clone, Debug)]
pub(super) struct Keeping<T> {
    id: AnswerId,
    owner: Option<OrganizationId>,
    /// What a repeat must have in common with it.
    request: String,
    encode: fn(&T) -> Result<String, serde_json::Error>,
    decode: fn(&str) -> Result<T, serde_json::Error>,
}

// === impl Keeping ===

impl<T: Serialize + DeserializeOwned> Keeping<T> {
    pub(super) fn new((id, request): (AnswerId, String), owner: Option<OrganizationId>) -> Self {
        Self { id, owner, request, encode: serde_json::to_string, decode: |text| serde_json::from_str(text) }
    }
}

impl<T> Keeping<T> {
    /// The answer of the first request, if this is a repeat.
    pub(super) fn repeated(&self, snapshot: &Snapshot, now_ms: i64) -> Result<Option<T>, Problem> {
        let Some(kept) = snapshot.kept_answer(self.id).filter(|it| it.is_kept(now_ms)) else { return Ok(None) };
        if kept.request != self.request {
            return Err(reused());
        }
        let failed = |error| internal("an answer that was kept cannot be read", &error);
        (self.decode)(&kept.answer).map(Some).map_err(failed)
    }

    /// What keeps an answer: its record, and the ends of those it takes the place of.
    pub(super) fn keep(&self, snapshot: &Snapshot, answer: &T, now_ms: i64) -> Result<Vec<Change>, Problem> {
        let failed = |error| internal("an answer could not be encoded", &error);
        let kept = KeptAnswer {
            answer_id: self.id,
            organization_id: self.owner,
            request: self.request.clone(),
            at_ms: now_ms,
            answer: (self.encode)(answer).map_err(failed)?,
        };
        let mut changes = over(snapshot, &kept, (OF_ONE, OF_ALL));
        changes.push(Change::Put(ControlObject::KeptAnswer(kept)));
        Ok(changes)
    }
}

/// The old ones that have to go when one comes.
fn over(snapshot: &Snapshot, new: &KeptAnswer, (of_one, of_all): (KeptAmount, KeptAmount)) -> Vec<Change> {
    let owner = new.organization_id;
    let comes = KeptAmount::of(new);
    let mut own = snapshot.kept_amount_of(owner).plus(comes);
    let mut all = snapshot.kept_amount().plus(comes);
    let mut gone = Vec::new();
    for old in snapshot.kept_answers_of(owner).take(GO_AT_ONCE) {
        if !own.exceeds(of_one) {
            break;
        }
        let goes = KeptAmount::of(old);
        (own, all) = (own.minus(goes), all.minus(goes));
        gone.push(old.answer_id);
    }
    let most = snapshot.most_kept();
    let most =
        most.into_iter().flat_map(|most| snapshot.kept_answers_of(most)).filter(|it| !gone.contains(&it.answer_id));
    let mut others = Vec::new();
    for old in most.take(GO_AT_ONCE) {
        if !all.exceeds(of_all) {
            break;
        }
        all = all.minus(KeptAmount::of(old));
        others.push(ControlKey::KeptAnswer(old.organization_id, old.answer_id));
    }
    let own = gone.into_iter().map(|id| ControlKey::KeptAnswer(owner, id));
    own.chain(others).map(Change::Remove).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use catalog::Catalog;
    use uuid::Uuid;
    use vault::{EncryptionKey, Vault};

    use super::*;

    fn kept(number: u128, owner: Option<u128>) -> KeptAnswer {
        KeptAnswer {
            answer_id: AnswerId(Uuid::from_u128(number)),
            organization_id: owner.map(|it| OrganizationId(Uuid::from_u128(it))),
            request: String::new(),
            at_ms: i64::try_from(number).unwrap(),
            answer: String::new(),
        }
    }

    /// The numbers of those that go when a new one of an owner comes.
    fn gone(catalog: &Catalog, owner: Option<u128>, of_one: usize, of_all: usize) -> Vec<u128> {
        let limit = |count| KeptAmount { count, bytes: u64::MAX };
        let changes = over(&catalog.read(), &kept(99, owner), (limit(of_one), limit(of_all)));
        let number = |change: Change| {
            let ControlKey::KeptAnswer(_, id) = change.key() else { panic!("an answer goes") };
            id.0.as_u128()
        };
        changes.into_iter().map(number).collect()
    }

    #[test]
    fn the_oldest_of_the_owner_go_first_and_in_all_those_of_whoever_has_most() {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let all = [kept(1, Some(1)), kept(2, Some(2)), kept(3, Some(2)), kept(4, Some(2)), kept(5, None)];
        let catalog = Catalog::of(all.map(ControlObject::KeptAnswer), vault);
        assert_eq!(gone(&catalog, Some(1), 10, 10), Vec::<u128>::new());
        assert_eq!(gone(&catalog, Some(1), 1, 10), [1]);
        assert_eq!(gone(&catalog, Some(2), 2, 10), [2, 3], "as many as it takes");
        assert_eq!(gone(&catalog, Some(3), 1, 5), [2], "the newcomer takes from whoever has most");
        assert_eq!(gone(&catalog, None, 1, 4), [5, 2], "what its owner gives up counts");
        assert_eq!(gone(&catalog, Some(2), 3, 4), [2, 3], "and is not given up twice");
    }

    #[test]
    fn bytes_are_limited_as_counts_are() {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let catalog = Catalog::of([kept(1, None), kept(2, None)].map(ControlObject::KeptAnswer), vault);
        let one = KeptAmount::of(&kept(1, None)).bytes;
        let limit = KeptAmount { count: 100, bytes: 2 * one };
        assert_eq!(over(&catalog.read(), &kept(3, None), (limit, OF_ALL)).len(), 1);
    }
}
