//! What is known of a schema after each answer, and when it is asked for again. Pure.
//!
//! ```text
//!               +--found------> Ready        as long as there is room
//! Wanted --ask--+--not found--> Missing      asked again for the grace period, then sure for 30 s, then wanted anew
//!               +--unusable---> Unusable     for 5 min, then wanted anew
//!               +--no answer--> Unavailable  asked again after 0.5 s, doubling to 60 s
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use sources::schema::{CompiledSchema, SchemaState};

use crate::answer::RegistryAnswer;

/// How long a registry is taken at its word that it has no such schema.
pub const NOT_FOUND_FOR: Duration = Duration::from_secs(30);
/// How long a schema stays unusable before it is looked at again.
pub const UNUSABLE_FOR: Duration = Duration::from_secs(300);
/// First wait after no answer.
pub const WAIT_FLOOR: Duration = Duration::from_millis(500);
/// Longest wait after no answer.
pub const WAIT_CAP: Duration = Duration::from_secs(60);
/// Between two questions for a schema that may only be late.
const GRACE_STEP: Duration = Duration::from_millis(500);
/// A wait is shortened by up to this part of it: what failed together does not come back together.
const JITTER: f64 = 0.25;

/// What is known of one schema.
#[derive(Clone, Debug)]
pub(crate) enum Knowledge {
    /// Nothing.
    Wanted,
    Ready(Arc<CompiledSchema>),
    /// The registry had none. It may be a follower that lags, until the grace period is over.
    Missing {
        since: Instant,
        is_sure: bool,
        until: Instant,
    },
    Unusable {
        why: Arc<str>,
        until: Instant,
    },
    Unavailable {
        failures: u32,
        why: Arc<str>,
        until: Instant,
    },
}

/// What an answer is judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judging {
    pub(crate) now: Instant,
    /// How long a schema may be late.
    pub(crate) grace: Duration,
    /// In 0..1, for jitter.
    pub(crate) unit: f64,
}

// === impl Knowledge ===

impl Knowledge {
    /// What is known after an answer.
    pub(crate) fn after(&self, answer: RegistryAnswer<Arc<CompiledSchema>>, by: Judging) -> Self {
        let Judging { now, grace, unit } = by;
        match answer {
            RegistryAnswer::Found(schema) => Self::Ready(schema),
            RegistryAnswer::NotFound => {
                let since = if let Self::Missing { since, .. } = self { *since } else { now };
                let sure_at = since + grace;
                let is_sure = now >= sure_at;
                let until = if is_sure { now + NOT_FOUND_FOR } else { sure_at.min(now + GRACE_STEP) };
                Self::Missing { since, is_sure, until }
            }
            RegistryAnswer::Unusable(why) => Self::Unusable { why: why.into(), until: now + UNUSABLE_FOR },
            RegistryAnswer::Unavailable(why) => {
                let before = if let Self::Unavailable { failures, .. } = self { *failures } else { 0 };
                let failures = before.saturating_add(1);
                Self::Unavailable { failures, why: why.into(), until: now + wait(failures, unit) }
            }
        }
    }

    /// What a record may rely on.
    pub(crate) fn state(&self, now: Instant) -> SchemaState {
        match self {
            Self::Ready(schema) => SchemaState::Ready(Arc::clone(schema)),
            Self::Missing { is_sure: true, until, .. } if now < *until => SchemaState::NotFound,
            Self::Unusable { why, until } if now < *until => SchemaState::Unusable(Arc::clone(why)),
            Self::Wanted | Self::Missing { .. } | Self::Unusable { .. } | Self::Unavailable { .. } => {
                SchemaState::Wanted
            }
        }
    }

    /// Whether somebody may be waiting for it: an answer that was relied on is asked for anew only when a record comes.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Wanted | Self::Unavailable { .. } => true,
            Self::Missing { is_sure, .. } => !is_sure,
            Self::Ready(_) | Self::Unusable { .. } => false,
        }
    }

    /// Whether it was sure that it is missing, so long ago that it may have been registered since, and be late again.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        matches!(self, Self::Missing { until, .. } if now.saturating_duration_since(*until) > NOT_FOUND_FOR)
    }

    /// When it is to be asked for, if it is open; none: at once.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Self::Missing { until, .. } | Self::Unavailable { until, .. } => Some(*until),
            Self::Wanted | Self::Ready(_) | Self::Unusable { .. } => None,
        }
    }

    /// What it takes in memory, bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Ready(schema) => schema.weight(),
            Self::Unusable { why, .. } => why.len(),
            Self::Wanted | Self::Missing { .. } | Self::Unavailable { .. } => 0,
        }
    }

    /// It is asked for at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let Self::Unavailable { until, .. } = self {
            *until = now.min(*until);
        }
    }
}

/// How long nobody is asked after so many failures in a row, from 1.
fn wait(failures: u32, unit: f64) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let whole = WAIT_FLOOR.saturating_mul(doubled).min(WAIT_CAP);
    let unit = if unit.is_nan() { 0.0 } else { unit.clamp(0.0, 1.0) };
    whole.mul_f64(1.0 - JITTER * unit)
}

#[cfg(test)]
mod tests {
    use sources::schema::{RegisteredSchema, SchemaKind};

    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn by(now: Instant) -> Judging {
        Judging { now, grace: GRACE, unit: 0.0 }
    }

    fn lost() -> RegistryAnswer<Arc<CompiledSchema>> {
        RegistryAnswer::Unavailable("answered 503".to_owned())
    }

    fn ready() -> RegistryAnswer<Arc<CompiledSchema>> {
        let text = r#""string""#.to_owned();
        let registered = RegisteredSchema { kind: SchemaKind::Avro, text, references: Vec::new() };
        RegistryAnswer::Found(Arc::new(CompiledSchema::compile(&registered, None).unwrap()))
    }

    #[test]
    fn waits_double_from_half_a_second_to_a_minute_and_jitter_only_shortens_them() {
        let ms: Vec<u128> = (1..=9).map(|failures| wait(failures, 0.0).as_millis()).collect();
        assert_eq!(ms, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(wait(1, 1.0).as_millis(), 375);
        assert_eq!(wait(u32::MAX, 0.0), WAIT_CAP);
        assert_eq!(wait(1, f64::NAN).as_millis(), 500);
    }

    #[test]
    fn no_answer_is_asked_again_later_each_time_and_one_answer_ends_it() {
        let now = chassis::clock::instant();
        let once = Knowledge::Wanted.after(lost(), by(now));
        assert_eq!((once.due(), once.is_open()), (Some(now + WAIT_FLOOR), true));
        let twice = once.after(lost(), by(now));
        assert_eq!(twice.due(), Some(now + WAIT_FLOOR * 2));
        assert!(matches!(twice.state(now), SchemaState::Wanted));
        let healed = twice.after(ready(), by(now));
        assert!(matches!(healed.state(now), SchemaState::Ready(_)) && !healed.is_open());
        assert_eq!(healed.after(lost(), by(now)).due(), Some(now + WAIT_FLOOR), "it begins anew");
        let mut hurried = twice;
        hurried.hurry(now);
        assert_eq!(hurried.due(), Some(now));
    }

    #[test]
    fn a_schema_that_is_not_found_may_be_late_for_the_grace_and_is_missing_for_half_a_minute_then() {
        let begin = chassis::clock::instant();
        let mut known = Knowledge::Wanted;
        let mut asked = Vec::new();
        let mut now = begin;
        loop {
            known = known.after(RegistryAnswer::NotFound, by(now));
            asked.push((now - begin).as_millis());
            if !known.is_open() {
                break;
            }
            assert!(matches!(known.state(now), SchemaState::Wanted));
            now = known.due().unwrap();
        }
        assert_eq!((asked.len(), asked.last()), (11, Some(&5_000)));
        assert!(matches!(known.state(now), SchemaState::NotFound));
        let over = now + NOT_FOUND_FOR;
        assert!(matches!(known.state(over), SchemaState::Wanted));
        let again = known.after(RegistryAnswer::NotFound, by(over));
        assert!(matches!(again.state(over), SchemaState::NotFound), "it was late for long enough");
        let grace = Judging { grace: Duration::ZERO, ..by(now) };
        assert!(!Knowledge::Wanted.after(RegistryAnswer::NotFound, grace).is_open());
    }

    #[test]
    fn what_is_unusable_stays_so_for_five_minutes() {
        let now = chassis::clock::instant();
        let known = Knowledge::Wanted.after(RegistryAnswer::Unusable("it is odd".to_owned()), by(now));
        let SchemaState::Unusable(why) = known.state(now + UNUSABLE_FOR - Duration::from_millis(1)) else {
            panic!("unusable")
        };
        assert_eq!((&*why, known.is_open()), ("it is odd", false));
        assert!(matches!(known.state(now + UNUSABLE_FOR), SchemaState::Wanted));
    }
}
