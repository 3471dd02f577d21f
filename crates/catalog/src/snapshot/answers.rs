//! Answers that are kept for repeats of their requests. Only the control plane holds them; nothing else depends on them, so they are
//! in no digest, and bounded by count and bytes of their own instead of by weights.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use schemas::control::{ControlKey, KeptAnswer};
use schemas::ids::{AnswerId, OrganizationId};

use super::Snapshot;

/// What one answer takes beside its texts: the tables it stands in.
const TABLES: u64 = 400;

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptAmount {
    /// Answers.
    pub count: usize,
    /// Bytes in memory.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct AnswerTable {
    by_id: HashMap<AnswerId, Arc<KeptAnswer>>,
    /// All of them, oldest first.
    by_age: BTreeSet<(i64, AnswerId)>,
    of_owners: BTreeMap<Option<OrganizationId>, OwnerAnswers>,
    /// All who have some, those of most bytes first.
    by_bytes: BTreeSet<(Reverse<u64>, Option<OrganizationId>)>,
    all: KeptAmount,
}

/// Those of an organization, or of the operator.
#[derive(Debug, Default)]
struct OwnerAnswers {
    by_age: BTreeSet<(i64, AnswerId)>,
    amount: KeptAmount,
}

// === impl KeptAmount ===

impl KeptAmount {
    /// What one answer adds.
    #[must_use]
    pub fn of(answer: &KeptAnswer) -> Self {
        let texts = answer.answer.len() + answer.request.len();
        Self { count: 1, bytes: u64::try_from(texts).unwrap_or(u64::MAX).saturating_add(TABLES) }
    }

    /// With more.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { count: self.count + other.count, bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// With less.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { count: self.count.saturating_sub(other.count), bytes: self.bytes.saturating_sub(other.bytes) }
    }

    /// Whether there is more of either than the other has.
    #[must_use]
    pub fn exceeds(self, limit: Self) -> bool {
        self.count > limit.count || self.bytes > limit.bytes
    }
}

// === impl AnswerTable ===

impl AnswerTable {
    pub(super) fn put(&mut self, answer: Arc<KeptAnswer>) {
        self.remove(answer.answer_id);
        let (age, amount) = ((answer.at_ms, answer.answer_id), KeptAmount::of(&answer));
        self.by_age.insert(age);
        self.all = self.all.plus(amount);
        let owner = self.of_owners.entry(answer.organization_id).or_default();
        owner.by_age.insert(age);
        self.by_bytes.remove(&(Reverse(owner.amount.bytes), answer.organization_id));
        owner.amount = owner.amount.plus(amount);
        self.by_bytes.insert((Reverse(owner.amount.bytes), answer.organization_id));
        self.by_id.insert(answer.answer_id, answer);
    }

    pub(super) fn remove(&mut self, id: AnswerId) {
        let Some(former) = self.by_id.remove(&id) else { return };
        let (age, amount) = ((former.at_ms, id), KeptAmount::of(&former));
        self.by_age.remove(&age);
        self.all = self.all.minus(amount);
        let Some(owner) = self.of_owners.get_mut(&former.organization_id) else { return };
        owner.by_age.remove(&age);
        self.by_bytes.remove(&(Reverse(owner.amount.bytes), former.organization_id));
        owner.amount = owner.amount.minus(amount);
        if owner.by_age.is_empty() {
            self.of_owners.remove(&former.organization_id);
        } else {
            self.by_bytes.insert((Reverse(owner.amount.bytes), former.organization_id));
        }
    }

    pub(super) fn get(&self, id: AnswerId) -> Option<&Arc<KeptAnswer>> {
        self.by_id.get(&id)
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// A snapshot for a process that gives no answers.
    pub(crate) fn without_answers() -> Self {
        Self { passes_answers: true, ..Self::default() }
    }

    /// An answer that is kept, also one whose time is over and that nobody has removed yet.
    #[must_use]
    pub fn kept_answer(&self, id: AnswerId) -> Option<&Arc<KeptAnswer>> {
        self.answers.get(id)
    }

    /// All answers, oldest first.
    pub fn kept_answers(&self) -> impl Iterator<Item = &Arc<KeptAnswer>> {
        self.answers.by_age.iter().filter_map(|(_, id)| self.answers.get(*id))
    }

    /// Those of an organization, or of the operator, oldest first.
    pub fn kept_answers_of(&self, owner: Option<OrganizationId>) -> impl Iterator<Item = &Arc<KeptAnswer>> {
        let ages = self.answers.of_owners.get(&owner).into_iter().flat_map(|it| it.by_age.iter());
        ages.filter_map(|(_, id)| self.answers.get(*id))
    }

    /// How much is kept in all.
    #[must_use]
    pub fn kept_amount(&self) -> KeptAmount {
        self.answers.all
    }

    /// How much is kept of an organization, or of the operator.
    #[must_use]
    pub fn kept_amount_of(&self, owner: Option<OrganizationId>) -> KeptAmount {
        self.answers.of_owners.get(&owner).map(|it| it.amount).unwrap_or_default()
    }

    /// Who has answers: organizations, and `None` for the operator. Those of most bytes come first.
    pub fn owners_of_kept(&self) -> impl Iterator<Item = Option<OrganizationId>> {
        self.answers.by_bytes.iter().map(|(_, owner)| *owner)
    }

    /// The answers whose time is over at `now_ms`, oldest first, at most so many.
    #[must_use]
    pub fn expired_answers(&self, now_ms: i64, limit: usize) -> Vec<ControlKey> {
        let expired = self.kept_answers().take_while(|it| !it.is_kept(now_ms)).take(limit);
        expired.map(|it| ControlKey::KeptAnswer(it.organization_id, it.answer_id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use schemas::control::KEPT_MS;
    use uuid::Uuid;

    use super::*;

    fn answer(number: u128, owner: Option<u128>, at_ms: i64) -> Arc<KeptAnswer> {
        Arc::new(KeptAnswer {
            answer_id: AnswerId(Uuid::from_u128(number)),
            organization_id: owner.map(|it| OrganizationId(Uuid::from_u128(it))),
            request: String::new(),
            at_ms,
            answer: "x".repeat(100),
        })
    }

    fn numbers<'a>(answers: impl Iterator<Item = &'a Arc<KeptAnswer>>) -> Vec<u128> {
        answers.map(|it| it.answer_id.0.as_u128()).collect()
    }

    #[test]
    fn answers_are_found_counted_and_listed_by_age_and_owner() {
        let mut snapshot = Snapshot::default();
        for it in [answer(1, Some(1), 30), answer(2, Some(1), 20), answer(3, None, 10), answer(1, Some(1), 5)] {
            snapshot.answers.put(it);
        }
        assert_eq!(numbers(snapshot.kept_answers()), [1, 3, 2], "put again, it has one place");
        let owner = Some(OrganizationId(Uuid::from_u128(1)));
        assert_eq!(numbers(snapshot.kept_answers_of(owner)), [1, 2]);
        assert_eq!(snapshot.kept_amount(), KeptAmount { count: 3, bytes: 3 * (TABLES + 100) });
        assert_eq!(snapshot.kept_amount_of(None), KeptAmount { count: 1, bytes: TABLES + 100 });
        assert_eq!(snapshot.owners_of_kept().collect::<Vec<_>>(), [owner, None], "who has most is first");
        let expired = snapshot.expired_answers(10 + KEPT_MS, 10);
        assert_eq!(expired.len(), 2, "{expired:?}");
        assert_eq!(snapshot.expired_answers(10 + KEPT_MS, 1).len(), 1);
        snapshot.answers.put(answer(4, None, 40));
        snapshot.answers.remove(AnswerId(Uuid::from_u128(1)));
        assert_eq!(snapshot.owners_of_kept().collect::<Vec<_>>(), [None, owner], "now the operator has");
        for number in [2, 3, 3, 4] {
            snapshot.answers.remove(AnswerId(Uuid::from_u128(number)));
        }
        assert_eq!((snapshot.kept_amount(), snapshot.owners_of_kept().next()), (KeptAmount::default(), None));
        assert!(snapshot.answers.by_age.is_empty() && snapshot.answers.of_owners.is_empty());
    }
}
