//! How large a subscription may be. What was larger when larger ones were allowed may stay so, and may become smaller in steps.

use schemas::control::Subscription;
use schemas::problem::Code;

use crate::problem::Problem;

/// Event types and patterns.
const EVENT_TYPES: usize = 100;
/// Bytes of all metadata, keys and values together: every process holds them in memory.
const METADATA_BYTES: usize = 8 * 1024;

/// Refuses what is over a cap and larger than it was.
pub(super) fn check(object: &Subscription, former: Option<&Subscription>) -> Result<(), Problem> {
    let grows = |size: fn(&Subscription) -> usize, cap: usize| {
        let now = size(object);
        now > cap && former.is_none_or(|former| now > size(former))
    };
    if grows(|it| it.event_types.len(), EVENT_TYPES) {
        return Err(Problem::field("event_types", Code::InvalidField, format!("has more than {EVENT_TYPES} entries")));
    }
    if grows(metadata_bytes, METADATA_BYTES) {
        let message = format!("has at most {METADATA_BYTES} bytes, keys and values together");
        return Err(Problem::field("metadata", Code::InvalidField, message));
    }
    Ok(())
}

fn metadata_bytes(subscription: &Subscription) -> usize {
    subscription.metadata.iter().map(|(key, value)| key.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use schemas::event_type::EventTypePattern;
    use schemas::ids::{ApplicationId, SubscriptionId};
    use uuid::Uuid;

    use super::*;

    fn subscription(event_types: usize, metadata: usize) -> Subscription {
        let id = Uuid::from_u128(1);
        let mut object = Subscription::new(SubscriptionId(id), ApplicationId(id), 1);
        object.event_types = (0..event_types).map(|it| EventTypePattern::parse(&format!("a.b{it}")).unwrap()).collect();
        object.metadata = (0..metadata).map(|it| (format!("{it:04}"), "x".repeat(1_020))).collect();
        object
    }

    #[test]
    fn what_was_larger_before_the_caps_may_shrink_in_steps_and_never_grow() {
        let old = subscription(1_000, 50);
        assert!(check(&subscription(100, 8), None).is_ok());
        assert!(check(&old, Some(&old)).is_ok());
        assert!(check(&subscription(999, 40), Some(&old)).is_ok());
        assert_eq!(
            check(&subscription(1_001, 50), Some(&old)).unwrap_err().detail,
            "event_types: has more than 100 entries"
        );
        assert!(check(&subscription(1_000, 51), Some(&old)).is_err());
        assert!(check(&subscription(101, 1), None).is_err());
        assert!(check(&subscription(1, 9), None).is_err());
        assert!(check(&subscription(101, 1), Some(&subscription(100, 1))).is_err());
    }
}
