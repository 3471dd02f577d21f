//! Subscriptions, and what is changed of them while their deliveries wait.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use catalog::Subscription;
use rand::Rng;
use schemas::control::{self, HurriedRetry, SkippedDelivery};
use schemas::ids::{ApplicationId, DeliveryId, JobId, SubscriptionId};

use super::World;
use crate::engine::Lookup;
use crate::testing;

/// What the engine looks subscriptions up in.
#[derive(Clone, Default)]
pub(in super::super) struct Subscriptions(
    pub(in super::super) Rc<RefCell<BTreeMap<SubscriptionId, Arc<Subscription>>>>,
    Rc<RefCell<Vec<JobId>>>,
);

impl Subscriptions {
    pub(in super::super) fn put(&self, subscription: Arc<Subscription>) {
        self.0.borrow_mut().insert(subscription.id(), subscription);
    }

    pub(in super::super) fn remove(&self, number: u128) {
        self.0.borrow_mut().remove(&testing::subscription_id(number));
    }

    /// Somebody cancels a job.
    pub(in super::super) fn cancel(&self, job: JobId) {
        self.1.borrow_mut().push(job);
    }
}

impl Lookup for Subscriptions {
    fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.0.borrow().get(&id).cloned()
    }

    fn is_cancelled(&self, application: ApplicationId, job: JobId) -> bool {
        application == testing::APPLICATION && self.1.borrow().contains(&job)
    }

    fn cancelled_came(&self) -> u64 {
        self.1.borrow().len() as u64
    }
}

/// What an operator may change of a subscription at any time.
#[derive(Clone, Debug)]
pub(in super::super) struct OperatorState {
    pub(in super::super) is_enabled: bool,
    is_paused: bool,
    /// What was given up.
    skipped: Vec<SkippedDelivery>,
    /// What is wanted now.
    hurried: Vec<HurriedRetry>,
    /// What was matched before is cancelled, also once it is enabled again.
    cancel_before: Option<i64>,
}

impl Default for OperatorState {
    fn default() -> Self {
        Self { is_enabled: true, is_paused: false, skipped: Vec::new(), hurried: Vec::new(), cancel_before: None }
    }
}

impl World {
    /// All endpoints are at one host and port.
    pub(in super::super) fn share_an_origin(&mut self) {
        self.is_origin_shared = true;
        let vault = testing::vault();
        for number in (0..).take(self.endpoints.len()) {
            let object = testing::object(number, &self.url(number), &vault);
            self.subscriptions.put(testing::subscription(object, 2, &vault));
        }
    }

    /// Where a subscription's endpoint is.
    pub(in super::super) fn url(&self, number: u128) -> String {
        if self.is_origin_shared { format!("https://shared.example.com/{number}") } else { testing::url(number) }
    }

    /// The catalog has moved.
    pub(in super::super) fn review(&mut self) {
        self.engine.review(self.now);
        self.put_changes();
    }

    /// What is set of a subscription.
    pub(in super::super) fn state(&self, of: usize) -> OperatorState {
        self.states.get(&of).cloned().unwrap_or_default()
    }

    /// Changes a subscription; the worker looks at what waits a moment later.
    pub(in super::super) fn operate(&mut self, of: usize, is_paused: bool, is_enabled: bool) {
        let was = self.state(of);
        let ends = (was.is_enabled && !is_enabled).then_some(self.control_end + 1);
        self.put_state(of, OperatorState { is_enabled, is_paused, cancel_before: ends.or(was.cancel_before), ..was });
    }

    /// Somebody gives a delivery up; the worker looks at that a moment later.
    pub(in super::super) fn skip(&mut self, of: usize, delivery: DeliveryId) {
        let mut state = self.state(of);
        state.skipped.push(SkippedDelivery { delivery, until_ms: i64::MAX });
        self.put_state(of, state);
    }

    /// Somebody wants a retry now of which he has read that it is due then; the worker looks at that a moment later.
    pub(in super::super) fn hurry_up(&mut self, of: usize, delivery: DeliveryId, due_ms: i64) {
        let mut state = self.state(of);
        state.hurried.push(HurriedRetry { delivery, due_ms });
        self.ledger.hurried.insert((delivery, due_ms));
        self.put_state(of, state);
    }

    fn put_state(&mut self, of: usize, state: OperatorState) {
        self.control_end += 1;
        let number = u128::try_from(of).unwrap();
        let vault = testing::vault();
        let object = control::Subscription {
            is_paused: state.is_paused,
            is_enabled: state.is_enabled,
            cancel_before: state.cancel_before,
            skipped: state.skipped.clone(),
            hurried: state.hurried.clone(),
            ..testing::shared_object(number, &self.url(number), &vault)
        };
        self.states.insert(of, state);
        self.subscriptions.put(testing::subscription(object, self.control_end, &vault));
        let at = self.now + self.rng.random_range(0..200);
        self.review_at.get_or_insert(at);
    }

    /// The worker looks at what was changed.
    pub(super) fn review_changes(&mut self) {
        if self.review_at.take_if(|at| *at <= self.now).is_some() {
            self.review();
        }
    }
}
