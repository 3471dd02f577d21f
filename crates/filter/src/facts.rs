//! What is known of an event, for all filters that look at it.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::types::{CelMap, CelMapKey, CelString, CelTimestamp};
use cel::common::value::{CowVal, Val};
use chrono::DateTime;

use crate::error::NoData;
use crate::limits::{EVENT_UNITS, OWN_UNITS};
use crate::payload;

/// An event as it came.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its type.
    pub event_type: &'a str,
    /// Its id.
    pub id: &'a str,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// When it occurred, RFC 3339, if it says so.
    pub time: Option<&'a str>,
    /// When it was accepted, Unix ms: its time if it does not say so, or not readably.
    pub accepted_ms: i64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// An event as filters see it. What no filter asks for is never made, what one asks for is made once.
#[derive(Debug)]
pub struct Facts<'a> {
    event: Event<'a>,
    labels: OnceLock<CelMap<'a>>,
    data: OnceLock<Result<Box<dyn Val + 'a>, NoData>>,
    /// Units left to all filters together.
    units: AtomicU64,
    /// Units that all filters have taken, those that each has of its own among them.
    taken: AtomicU64,
}

impl<'a> Facts<'a> {
    /// The facts of an event.
    #[must_use]
    pub fn new(event: Event<'a>) -> Self {
        let (units, taken) = (AtomicU64::new(EVENT_UNITS), AtomicU64::new(0));
        Self { event, labels: OnceLock::new(), data: OnceLock::new(), units, taken }
    }

    /// With so many units left to all filters together: for facts that are made again for the rest of the same filters.
    #[must_use]
    pub fn with_units(self, units: u64) -> Self {
        Self { units: AtomicU64::new(units), ..self }
    }

    /// From here on all filters together may take [`EVENT_UNITS`] once more.
    pub fn renew_units(&self) {
        self.units.store(EVENT_UNITS, Ordering::Relaxed);
    }

    /// Units left to all filters together.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// Units that all filters have taken so far: about 20 ns each.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn variable(&self, name: &str) -> Option<CowVal<'_, '_>> {
        match name {
            "type" => Some(CowVal::owned(CelString::from(self.event.event_type))),
            "id" => Some(CowVal::owned(CelString::from(self.event.id))),
            "labels" => Some(CowVal::Borrowed(self.labels())),
            "data" => self.data().ok().map(CowVal::Borrowed),
            "time" => self.time().map(CowVal::owned),
            _unknown => None,
        }
    }

    /// The payload, parsed.
    pub(crate) fn data(&self) -> Result<&(dyn Val + '_), &NoData> {
        self.data.get_or_init(|| payload::parse(self.event.payload)).as_ref().map(|data| data.as_ref() as &dyn Val)
    }

    /// An evaluation has spent so many.
    pub(crate) fn spent(&self, units: u64) {
        self.taken.store(self.taken().saturating_add(units), Ordering::Relaxed);
        let beyond = units.saturating_sub(OWN_UNITS);
        self.units.store(self.units().saturating_sub(beyond), Ordering::Relaxed);
    }

    fn labels(&self) -> &CelMap<'a> {
        self.labels.get_or_init(|| {
            let entry = |(key, value): (&'a String, &'a String)| {
                let value: Box<dyn Val + 'a> = Box::new(CelString::from(value.as_str()));
                (CelMapKey::from(key.as_str()), value)
            };
            CelMap::from(self.event.labels.iter().map(entry).collect::<HashMap<_, _>>())
        })
    }

    fn time(&self) -> Option<CelTimestamp> {
        let given = self.event.time.and_then(|time| DateTime::parse_from_rfc3339(time).ok());
        let accepted = || DateTime::from_timestamp_millis(self.event.accepted_ms).map(|time| time.fixed_offset());
        // `getHours()` and the like speak of UTC, whatever offset the event's time was written with.
        given.or_else(accepted).map(|time| CelTimestamp::from(time.to_utc().fixed_offset()))
    }
}
