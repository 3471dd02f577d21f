//! Shapes of what stands on `control`: what releases that run side by side promise each other.
//!
//! An object's shape is the number of the first shape that has everything in it; its record carries it as
//! `hookbus-version`. The contract, which the tests here and in the catalog and the control plane hold:
//!
//! - **A release reads what the one before and the one after it write.** Members are added, and readers pass over those that they
//!   do not know. A member that is given up stays in its struct for as long as a record may have it: else it would look like one of a
//!   newer release.
//! - **A new shape is read one release before it is written**: a release raises [`READS`], the next one lets
//!   [`ControlObject::shape`] return it.
//! - **Nothing is lost by who knows less.** Who meets an object with a higher shape than it reads, or with a member that it would
//!   not write again ([`ControlObject::unread`]), uses what it knows of it and never writes it.
//! - **Nothing is written that a living process cannot read whole.** Processes say on `status` up to which shape they read
//!   (`reads_shape`); one that does not say reads the first.

use serde_json::Value;

use super::ControlObject;

/// The shape of everything that was written before shapes were counted.
pub const FIRST: u8 = 1;
/// The highest shape that this build reads whole, and so may change.
pub const READS: u8 = 1;

// === impl ControlObject ===

impl ControlObject {
    /// The lowest shape that holds all of this object.
    #[must_use]
    pub fn shape(&self) -> u8 {
        match self {
            // What came later says so here: `Self::Subscription(it) if it.ordering != DeliveryOrder::None => 2`.
            Self::Organization(_)
            | Self::ServiceToken(_)
            | Self::Application(_)
            | Self::ApplicationSecret(_)
            | Self::RetiredApplication(_)
            | Self::EventType(_)
            | Self::Subscription(_)
            | Self::Source(_)
            | Self::SchemaRegistry(_)
            | Self::KeptAnswer(_)
            | Self::CancelledJob(_) => FIRST,
        }
    }

    /// The first member of the value that this object was decoded from which would not be in it if it was written again: a newer
    /// release put it there. `None`: nothing would be lost.
    #[must_use]
    pub fn unread(&self, value: &[u8]) -> Option<String> {
        let again = self.encode().ok()?;
        // As a rule it was written by a build like this one.
        if again == value {
            return None;
        }
        let (given, again) = (serde_json::from_slice(value).ok()?, serde_json::from_slice(&again).ok()?);
        lost(&given, &again)
    }
}

/// The path of the first member of `given` that `again` lacks.
fn lost(given: &Value, again: &Value) -> Option<String> {
    match (given, again) {
        (Value::Object(given), Value::Object(again)) => given.iter().find_map(|(name, value)| match again.get(name) {
            None if says_nothing(value) => None,
            None => Some(name.clone()),
            Some(kept) => lost(value, kept).map(|path| format!("{name}.{path}")),
        }),
        (Value::Array(given), Value::Array(again)) => {
            let shorter = (given.len() > again.len()).then(|| again.len().to_string());
            let within = given.iter().zip(again).enumerate();
            let mut within = within.filter_map(|(at, (value, kept))| Some(format!("{at}.{}", lost(value, kept)?)));
            within.next().or(shorter)
        }
        // Another spelling of what is known, such as of a number.
        _other => None,
    }
}

/// Whether a member could as well have been left out, as members with these values are.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::control::{Application, ControlKey, Organization, Subscription, TopicSource};
    use crate::ids::{ApplicationId, OrganizationId, SubscriptionId};

    const GOLDEN: &str = include_str!("../../golden/subscription.v1.json");
    const ORGANIZATION: OrganizationId = OrganizationId(Uuid::from_u128(1));

    fn golden() -> (ControlKey, Value) {
        let value: Value = serde_json::from_str(GOLDEN).unwrap();
        let id = |name: &str| value[name].as_str().unwrap().to_owned();
        let key = format!("subscription/{}/{}", id("application_id"), id("subscription_id"));
        (ControlKey::parse(&key).unwrap(), value)
    }

    fn unread(value: &Value) -> Option<String> {
        let bytes = value.to_string().into_bytes();
        ControlObject::decode(&golden().0, &bytes).unwrap().unread(&bytes)
    }

    #[test]
    fn nothing_is_written_that_this_build_does_not_read() {
        let application = ApplicationId(Uuid::from_u128(2));
        let subscription = Subscription::new(SubscriptionId(Uuid::from_u128(3)), application, 1);
        for object in [
            ControlObject::Organization(Organization::new(ORGANIZATION, "one", 1)),
            ControlObject::Application(Application::new(application, ORGANIZATION, "one", 1)),
            ControlObject::Subscription(Box::new(subscription)),
        ] {
            assert!((FIRST..=READS).contains(&object.shape()), "{object:?}");
            assert_eq!(object.unread(&object.encode().unwrap()), None, "{object:?}");
        }
    }

    #[test]
    fn records_of_the_first_shape_lose_nothing() {
        assert_eq!(unread(&golden().1), None);
        for line in include_str!("../../golden/source.v1.txt").lines() {
            let source: TopicSource = serde_json::from_str(line).unwrap();
            assert_eq!(ControlObject::Source(Box::new(source)).unread(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn what_this_build_would_drop_is_named_wherever_it_stands() {
        for (at, path) in [("", "window"), ("/target", "target.window"), ("/secrets/0", "secrets.0.window")] {
            let mut value = golden().1;
            value.pointer_mut(at).unwrap()["window"] = json!({ "opens": "08:00" });
            assert_eq!(unread(&value).as_deref(), Some(path));
            value.pointer_mut(at).unwrap()["window"] = json!([]);
            assert_eq!(unread(&value), None, "it says nothing");
        }
        let mut value = golden().1;
        value["rate_per_second"] = json!(5);
        assert_eq!(unread(&value), None, "5 is 5.0");
    }
}
