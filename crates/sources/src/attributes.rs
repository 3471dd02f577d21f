//! The attributes of an event: as a format found them, as templates say them, checked, and filled in where they may be missing.

use std::borrow::Cow;

use schemas::cloud_event;
use schemas::event_type::is_visible_type;
use schemas::identity::positional_id;
use schemas::record::{Record, TopicPartition};

use crate::{MAX_ID_BYTES, Rejection};

/// The CloudEvents attributes a format found; absent ones are filled in by [`Attributes::resolve`].
#[derive(Debug, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) spec_version: Option<Cow<'a, str>>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) source: Option<Cow<'a, str>>,
    pub(crate) event_type: Option<Cow<'a, str>>,
    pub(crate) time: Option<Cow<'a, str>>,
}

/// What a source's templates say of an event. Where they say something it counts, whatever the format found.
#[derive(Debug, Default)]
pub(crate) struct GivenAttributes<'a> {
    pub(crate) application: Option<Cow<'a, str>>,
    pub(crate) event_type: Option<Cow<'a, str>>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) time: Option<Cow<'a, str>>,
    /// A JSON object of strings.
    pub(crate) labels: Option<Vec<u8>>,
    /// The type where nothing else says one.
    pub(crate) default_type: Option<Cow<'a, str>>,
}

/// Attributes every event has.
#[derive(Debug)]
pub(crate) struct Resolved<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) is_positional: bool,
    pub(crate) source: Cow<'a, str>,

    pub(crate) event_type: Cow<'a, str>,
    pub(crate) time: Option<Cow<'a, str>>,
    /// Says that a time was there and is none.
    pub(crate) note: Option<String>,
}

// === impl GivenAttributes ===

impl GivenAttributes<'_> {
    /// The same, borrowing from nothing.
    pub(crate) fn into_owned(self) -> GivenAttributes<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        GivenAttributes {
            application: owned(self.application),
            event_type: owned(self.event_type),
            id: owned(self.id),
            time: owned(self.time),
            labels: self.labels,
            default_type: owned(self.default_type),
        }
    }
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// With what templates say in place of what was found.
    pub(crate) fn given(self, given: &mut GivenAttributes<'a>) -> Self {
        let default_type = given.default_type.take();
        let is_said = |text: &Cow<'a, str>| !text.is_empty() || default_type.is_none();
        Self {
            id: given.id.take().or(self.id),
            event_type: given.event_type.take().or(self.event_type).filter(is_said).or(default_type),
            time: given.time.take().or(self.time),
            ..self
        }
    }

    /// Checks what is there and fills in what may be missing.
    pub(crate) fn resolve(self, record: &Record, from: &TopicPartition) -> Result<Resolved<'a>, Rejection> {
        if let Some(version) = self.spec_version.filter(|version| !cloud_event::is_version(version)) {
            return Err(Rejection::attribute(format!("CloudEvents version `{}` is not 1.x", cut(&version))));
        }
        let Some(event_type) = self.event_type else {
            return Err(Rejection::attribute("the event has no type: no `ce_type`, no template, no default type"));
        };
        if !is_visible_type(&event_type) {
            let detail = format!("event type `{}` is not 1 to 200 visible ASCII characters", cut(&event_type));
            return Err(Rejection::attribute(detail));
        }
        let given = |text: Option<Cow<'a, str>>| text.filter(|text| !text.is_empty());
        let (id, source) = (given(self.id), given(self.source));
        for (name, text) in [("id", &id), ("source", &source)] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_ID_BYTES) {
                return Err(Rejection::attribute(format!("the event's {name} is longer than {MAX_ID_BYTES} bytes")));
            }
        }
        let (time, note) = match given(self.time) {
            Some(text) if !schemas::time::is_rfc3339(&text) => {
                let note =
                    format!("`ce_time` is `{}`, not an RFC 3339 time: the time of acceptance counts", cut(&text));
                (None, Some(note))
            }
            time => (time, None),
        };
        let is_positional = id.is_none();

        let position = || positional_id(&from.topic, from.partition, record.offset, record.timestamp_ms).into();
        Ok(Resolved {
            id: id.unwrap_or_else(position),
            is_positional,
            source: source.unwrap_or_else(|| format!("/topics/{}", from.topic).into()),

            event_type,
            time,
            note,
        })
    }
}

/// The beginning of a text, for a sentence.
pub(crate) fn cut(text: &str) -> &str {
    text.char_indices().nth(80).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
