//! The JSON shapes of a schedule.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Exponential, Form, MAX_RETRIES, Schedule};
use crate::duration;

/// A duration in a schedule: `"5s"`, or a whole number of milliseconds.
struct Delay(Duration);

/// `{"exponential": {...}}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExponentialShape {
    exponential: ExponentialFields,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExponentialFields {
    base: Delay,
    factor: f64,
    cap: Delay,
    budget: Delay,
}

struct ScheduleVisitor;

struct DelayVisitor;

// === impl Schedule ===

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.form {
            Form::Preset(preset) => serializer.serialize_str(preset.as_str()),
            Form::List => {
                let mut list = serializer.serialize_seq(Some(self.delays.len()))?;
                for delay in &self.delays {
                    list.serialize_element(&Delay(*delay))?;
                }
                list.end()
            }
            Form::Exponential(exponential) => ExponentialShape::from(exponential).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScheduleVisitor)
    }
}

impl<'de> Visitor<'de> for ScheduleVisitor {
    type Value = Schedule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a preset, a list of delays, or an object `exponential`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Schedule, E> {
        name.parse().map(Schedule::preset).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Schedule, A::Error> {
        let mut delays = Vec::new();
        while let Some(Delay(delay)) = list.next_element()? {
            // One more than allowed is enough to refuse it; the rest of a huge list is not kept.
            if delays.len() <= MAX_RETRIES {
                delays.push(delay);
            }
        }
        Schedule::list(delays).map_err(de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
        let shape = ExponentialShape::deserialize(MapAccessDeserializer::new(map))?;
        Schedule::exponential(shape.into()).map_err(de::Error::custom)
    }
}

// === impl ExponentialShape ===

impl From<Exponential> for ExponentialShape {
    fn from(exponential: Exponential) -> Self {
        Self {
            exponential: ExponentialFields {
                base: Delay(exponential.base),
                factor: exponential.factor,
                cap: Delay(exponential.cap),
                budget: Delay(exponential.budget),
            },
        }
    }
}

impl From<ExponentialShape> for Exponential {
    fn from(ExponentialShape { exponential }: ExponentialShape) -> Self {
        Self {
            base: exponential.base.0,
            factor: exponential.factor,
            cap: exponential.cap.0,
            budget: exponential.budget.0,
        }
    }
}

// === impl Delay ===

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration::format(self.0))
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DelayVisitor)
    }
}

impl Visitor<'_> for DelayVisitor {
    type Value = Delay;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as `5s`, or a whole number of milliseconds")
    }

    fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Delay, E> {
        Ok(Delay(Duration::from_millis(ms)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Delay, E> {
        duration::parse(text).map(Delay).map_err(E::custom)
    }
}
