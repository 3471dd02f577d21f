//! What a write with an `Idempotency-Key` keeps for its repeats: the answer of its decision, as a record of the same transaction.
//!
//! An answer is kept for a day, and no longer than its owner's next 10,000: the oldest go first, an organization's for its own, and
//! beyond what all may have together those of whoever has most. An answer for which that makes no room is refused, and with it
//! the write. A control object is kept as it was written, with its secrets sealed, and shown again from that.

use std::sync::Arc;

use catalog::{KeptAmount, Snapshot};
use schemas::control::{ControlKey, ControlObject, KeptAnswer};
use schemas::ids::{AnswerId, OrganizationId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::idempotency::reused;
use crate::problem::{Problem, internal};
use crate::store::Change;
use crate::store::refuse::no_room;

/// Of one organization, or of the operator.
const OF_ONE: KeptAmount = KeptAmount { count: 10_000, bytes: 16 * 1024 * 1024 };
/// Of all of them, in the memory of every control plane.
const OF_ALL: KeptAmount = KeptAmount { count: 100_000, bytes: 128 * 1024 * 1024 };
/// Old ones that go with one that comes, at most: each is a record of its transaction. Many small ones make room for a large one.
const GO_AT_ONCE: usize = 1_024;

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
    ///
    /// # Errors
    /// A 429: there is no room for it.
    pub(super) fn keep(&self, snapshot: &Snapshot, answer: &T, now_ms: i64) -> Result<Vec<Change>, Problem> {
        let failed = |error| internal("an answer could not be encoded", &error);
        let kept = KeptAnswer {
            answer_id: self.id,
            organization_id: self.owner,
            request: self.request.clone(),
            at_ms: now_ms,
            answer: (self.encode)(answer).map_err(failed)?,
        };
        let mut changes = over(snapshot, &kept, (OF_ONE, OF_ALL))?;
        changes.push(Change::Put(ControlObject::KeptAnswer(kept)));
        Ok(changes)
    }
}

/// The old ones that have to go when one comes, so that no limit is exceeded. A 429: those that may go at once are not enough.
fn over(
    snapshot: &Snapshot,
    new: &KeptAnswer,
    (of_one, of_all): (KeptAmount, KeptAmount),
) -> Result<Vec<Change>, Problem> {
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
        gone.push(old);
    }
    // Those of the owner that go already are its oldest.
    let of_own = gone.len();
    let left = |of| snapshot.kept_answers_of(of).skip(if of == owner { of_own } else { 0 });
    for old in snapshot.owners_of_kept().flat_map(left).take(GO_AT_ONCE - of_own) {
        if !all.exceeds(of_all) {
            break;
        }
        all = all.minus(KeptAmount::of(old));
        gone.push(old);
    }
    if own.exceeds(of_one) || all.exceeds(of_all) {
        return Err(no_room());
    }
    let key = |old: &Arc<KeptAnswer>| ControlKey::KeptAnswer(old.organization_id, old.answer_id);
    Ok(gone.into_iter().map(|old| Change::Remove(key(old))).collect())
}

#[cfg(test)]
mod tests {
    use catalog::Catalog;
    use schemas::problem::Code;
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
        let changes = over(&catalog.read(), &kept(99, owner), (limit(of_one), limit(of_all))).unwrap();
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
    fn as_many_small_ones_go_as_a_large_one_takes_and_without_room_it_is_refused() {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let small = (1..=1_100).map(|number| ControlObject::KeptAnswer(kept(number, None)));
        let catalog = Catalog::of(small, vault);
        let one = KeptAmount::of(&kept(1, None)).bytes;
        let limit = KeptAmount { count: 10_000, bytes: 1_100 * one };
        // How many go for one of so many times the size, where its owner alone would have too much and where all would.
        let go = |times: u64| {
            let answer = "x".repeat(usize::try_from((times - 1) * one).unwrap());
            let go = |owner, limits| {
                let new = KeptAnswer { answer: answer.clone(), ..kept(9_999, owner) };
                let changes = over(&catalog.read(), &new, limits);
                changes.map(|gone| gone.len()).map_err(|problem| (problem.status, problem.code))
            };
            [go(None, (limit, OF_ALL)), go(Some(1), (OF_ONE, limit))]
        };
        assert_eq!(go(1), [Ok(1), Ok(1)]);
        assert_eq!(go(1_024), [Ok(1_024), Ok(1_024)]);
        let refused = Err((429, Some(Code::LimitReached)));
        assert_eq!(go(1_025), [refused, refused], "more do not go at once");
    }

    #[test]
    fn when_all_of_whoever_has_most_is_not_enough_the_next_one_gives_too() {
        let vault = Arc::new(Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let all = [kept(1, Some(1)), kept(2, Some(2)), kept(3, Some(3))];
        let catalog = Catalog::of(all.map(ControlObject::KeptAnswer), vault);
        assert_eq!(gone(&catalog, Some(4), 10, 2), [1, 2]);
    }
}
