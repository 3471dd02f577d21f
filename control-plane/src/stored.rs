//! What stands on `control` under one key, whichever kind it is, and the decisions that are the same for all of them.

use schemas::control::{
    Application, ApplicationSecret, ControlObject, EventType, Organization, SchemaRegistry, ServiceToken, Subscription,
    TopicSource,
};
use serde::Serialize;

use crate::store::{Change, Decision, Moment};

/// An object of the catalog.
pub(crate) trait Stored: Serialize + Clone + PartialEq + Send + 'static {
    /// What people call it.
    const WHAT: &'static str;

    /// As a record takes it.
    fn into_object(self) -> ControlObject;

    /// Notes when it was changed. Tokens do not keep that, and a subscription's `Input` does it itself.
    fn changed_at(&mut self, _now_ms: i64) {}
}

// === impl Decision ===

impl<T: Stored> Decision<T> {
    /// A new object.
    pub(crate) fn made(object: T) -> Self {
        Self::put(object.clone().into_object(), object)
    }

    /// What was `former` is this now; nothing is written where nothing changes.
    pub(crate) fn changed(former: &T, mut object: T, moment: Moment) -> Self {
        if object == *former {
            return Self::nothing(object);
        }
        object.changed_at(moment.now_ms);
        Self::made(object)
    }

    /// The next object stands beside a former one that has an end now.
    pub(crate) fn succeeded(ended: T, next: T) -> Self {
        let changes = [ended, next.clone()].map(|it| Change::Put(it.into_object()));
        Self::of(changes.to_vec(), next)
    }
}

// === impl Stored ===

impl Stored for Organization {
    const WHAT: &'static str = "organization";

    fn into_object(self) -> ControlObject {
        ControlObject::Organization(self)
    }

    fn changed_at(&mut self, now_ms: i64) {
        self.updated_ms = Some(now_ms);
    }
}

impl Stored for Application {
    const WHAT: &'static str = "application";

    fn into_object(self) -> ControlObject {
        ControlObject::Application(self)
    }

    fn changed_at(&mut self, now_ms: i64) {
        self.updated_ms = Some(now_ms);
    }
}

impl Stored for EventType {
    const WHAT: &'static str = "event type";

    fn into_object(self) -> ControlObject {
        ControlObject::EventType(self)
    }

    fn changed_at(&mut self, now_ms: i64) {
        self.updated_ms = Some(now_ms);
    }
}

impl Stored for ApplicationSecret {
    const WHAT: &'static str = "application secret";

    fn into_object(self) -> ControlObject {
        ControlObject::ApplicationSecret(self)
    }
}

impl Stored for ServiceToken {
    const WHAT: &'static str = "service token";

    fn into_object(self) -> ControlObject {
        ControlObject::ServiceToken(self)
    }
}

impl Stored for Subscription {
    const WHAT: &'static str = "subscription";

    fn into_object(self) -> ControlObject {
        ControlObject::Subscription(Box::new(self))
    }
}

impl Stored for TopicSource {
    const WHAT: &'static str = "source";

    fn into_object(self) -> ControlObject {
        ControlObject::Source(Box::new(self))
    }

    fn changed_at(&mut self, now_ms: i64) {
        self.updated_ms = Some(now_ms);
    }
}

impl Stored for SchemaRegistry {
    const WHAT: &'static str = "schema registry";

    fn into_object(self) -> ControlObject {
        ControlObject::SchemaRegistry(Box::new(self))
    }

    fn changed_at(&mut self, now_ms: i64) {
        self.updated_ms = Some(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use schemas::ids::OrganizationId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_changes_nothing_writes_nothing_and_keeps_its_time() {
        let moment = Moment { end: 0, now_ms: 7 };
        let former = Organization::new(OrganizationId(Uuid::nil()), "one".to_owned(), 1);
        let same = Decision::changed(&former, former.clone(), moment);
        assert!(same.changes.is_empty());
        assert_eq!(same.answer, former);

        let other = Organization { name: "other".to_owned(), ..former.clone() };
        let changed = Decision::changed(&former, other.clone(), moment);
        assert_eq!(changed.answer, Organization { updated_ms: Some(7), ..other });
        let [Change::Put(written)] = changed.changes.as_slice() else { panic!("one object is written") };
        assert_eq!(*written, changed.answer.into_object(), "what is answered is what is written");
    }
}
