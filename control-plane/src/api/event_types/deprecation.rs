//! From when on an event type is deprecated, and from when on it may be gone. Pure.
//!
//! ```text
//! deprecated: true                  from now on, or from when it was before
//! deprecated_at: a moment           from then on; it may lie in the future
//! sunset_at: a moment, or null      not before `deprecated_at`; null, or nothing where that is new: six months later
//! deprecated: false, or
//! deprecated_at: null               not deprecated, and no moment is kept
//! ```

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use schemas::control::EventType;
use schemas::problem::Code;

use crate::body::Fields;
use crate::problem::Problem;

/// Months from the one moment to the other, unless said.
const SUNSET_MONTHS: i64 = 6;

/// What is given of it. The outer `None`: not given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DeprecationInput {
    deprecated: Option<bool>,
    deprecated_ms: Option<Option<i64>>,
    sunset_ms: Option<Option<i64>>,
}

// === impl DeprecationInput ===

impl DeprecationInput {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Problem> {
        Ok(Self {
            deprecated: fields.flag("deprecated")?,
            deprecated_ms: fields.moment("deprecated_at")?,
            sunset_ms: fields.moment("sunset_at")?,
        })
    }

    /// Over what the event type has.
    ///
    /// # Errors
    /// What is given contradicts itself or what is there, by its field.
    pub(super) fn apply(self, event_type: &mut EventType, now_ms: i64) -> Result<(), Problem> {
        if self.deprecated.is_none() && self.deprecated_ms.is_none() && self.sunset_ms.is_none() {
            return Ok(());
        }
        let wrong = |field, message| Err(Problem::field(field, Code::InvalidField, message));
        let former_ms = event_type.deprecated_ms;
        let wanted_ms = match (self.deprecated, self.deprecated_ms) {
            (Some(false), Some(Some(_))) => return wrong("deprecated_at", "is given beside `deprecated: false`"),
            (Some(false), _) | (None, Some(None)) => None,
            (_, Some(Some(given_ms))) => Some(given_ms),
            (Some(true), Some(None) | None) => Some(former_ms.unwrap_or(now_ms)),
            // What an older build deprecated has no moment yet.
            (None, None) => event_type.deprecated.then(|| former_ms.unwrap_or(now_ms)),
        };
        let sunset_ms = match (wanted_ms, self.sunset_ms) {
            (None, Some(Some(_))) => return wrong("sunset_at", "is only for an event type that is deprecated"),
            (None, _) => None,
            (Some(_), Some(Some(given_ms))) => Some(given_ms),
            (Some(wanted_ms), None) if former_ms == Some(wanted_ms) => event_type.sunset_ms,
            (Some(wanted_ms), _) => Some(sunset_of(wanted_ms)),
        };
        if sunset_ms < wanted_ms {
            return wrong("sunset_at", "must not be before `deprecated_at`");
        }
        event_type.deprecated = wanted_ms.is_some();
        (event_type.deprecated_ms, event_type.sunset_ms) = (wanted_ms, sunset_ms);
        Ok(())
    }
}

/// Six months of the calendar later, or the last moment there is.
fn sunset_of(deprecated_ms: i64) -> i64 {
    let at = Timestamp::from_millisecond(deprecated_ms).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC);
    let later = at.checked_add(SUNSET_MONTHS.months());
    later.map_or(Timestamp::MAX, |later| later.timestamp()).as_millisecond()
}

#[cfg(test)]
mod tests {
    use schemas::event_type::EventTypeName;
    use schemas::ids::ApplicationId;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::api::time;

    const NOW: &str = "2026-11-30T12:00:00Z";

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn plain() -> EventType {
        EventType::new(ApplicationId(Uuid::nil()), EventTypeName::parse("a.b").unwrap(), 1)
    }

    fn given(former: &EventType, body: Value) -> Result<EventType, Problem> {
        let Value::Object(map) = body else { panic!("an object") };
        let mut fields = Fields::new(map, "", &["deprecated", "deprecated_at", "sunset_at"])?;
        let mut event_type = former.clone();
        DeprecationInput::read(&mut fields)?.apply(&mut event_type, ms(NOW))?;
        Ok(event_type)
    }

    fn moments(event_type: &EventType) -> (bool, Option<String>, Option<String>) {
        (event_type.deprecated, event_type.deprecated_ms.map(time), event_type.sunset_ms.map(time))
    }

    fn some(deprecated: &str, sunset: &str) -> (bool, Option<String>, Option<String>) {
        (true, Some(deprecated.to_owned()), Some(sunset.to_owned()))
    }

    #[test]
    fn the_sunset_is_six_months_of_the_calendar_later_unless_it_is_given() {
        let now = given(&plain(), json!({ "deprecated": true })).unwrap();
        assert_eq!(moments(&now), some(NOW, "2027-05-30T12:00:00Z"));
        let announced = given(&plain(), json!({ "deprecated_at": "2027-08-31T00:00:00Z" })).unwrap();
        assert_eq!(moments(&announced), some("2027-08-31T00:00:00Z", "2028-02-29T00:00:00Z"));
        let both = json!({ "deprecated_at": NOW, "sunset_at": "2026-11-30T13:00:00+01:00" });
        assert_eq!(moments(&given(&plain(), both).unwrap()), some(NOW, NOW), "at once is allowed");
        let last = given(&plain(), json!({ "deprecated_at": "9999-12-30T00:00:00Z" })).unwrap();
        assert!(last.sunset_ms > last.deprecated_ms);
    }

    #[test]
    fn what_is_given_again_changes_nothing_and_another_moment_moves_the_sunset() {
        let own = json!({ "deprecated": true, "sunset_at": "2026-12-24T00:00:00Z" });
        let former = given(&plain(), own).unwrap();
        for same in [json!({}), json!({ "deprecated": true }), json!({ "deprecated_at": NOW })] {
            assert_eq!(given(&former, same.clone()).unwrap(), former, "{same}");
        }
        let later = given(&former, json!({ "deprecated_at": "2026-12-01T00:00:00Z" })).unwrap();
        assert_eq!(moments(&later), some("2026-12-01T00:00:00Z", "2027-06-01T00:00:00Z"));
        let default = given(&former, json!({ "sunset_at": null })).unwrap();
        assert_eq!(moments(&default), some(NOW, "2027-05-30T12:00:00Z"));
        for none in [json!({ "deprecated": false }), json!({ "deprecated_at": null, "sunset_at": null })] {
            assert_eq!(given(&former, none.clone()).unwrap(), plain(), "{none}");
        }
    }

    #[test]
    fn one_that_an_older_build_deprecated_gets_its_moment_with_the_next_word_about_it() {
        let old = EventType { deprecated: true, ..plain() };
        assert_eq!(given(&old, json!({})).unwrap(), old);
        let sunset = json!({ "sunset_at": "2027-01-01T00:00:00Z" });
        assert_eq!(moments(&given(&old, sunset).unwrap()), some(NOW, "2027-01-01T00:00:00Z"));
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_its_field() {
        for (body, field) in [
            (json!({ "deprecated": false, "deprecated_at": NOW }), "deprecated_at"),
            (json!({ "deprecated_at": NOW, "sunset_at": "2026-11-30T11:59:59Z" }), "sunset_at"),
            (json!({ "sunset_at": NOW }), "sunset_at"),
            (json!({ "deprecated_at": null, "sunset_at": NOW }), "sunset_at"),
            (json!({ "deprecated_at": "tomorrow" }), "deprecated_at"),
            (json!({ "sunset_at": "2026-11-30T12:00:00" }), "sunset_at"),
            (json!({ "deprecated_at": 1 }), "deprecated_at"),
        ] {
            let problem = given(&plain(), body.clone()).unwrap_err();
            assert_eq!(problem.status, 422, "{body}");
            assert!(problem.detail.contains(field), "{body}: {}", problem.detail);
        }
    }
}
