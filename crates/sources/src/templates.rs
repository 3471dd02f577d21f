//! All templates of a source, and what they come to for one record.

use std::borrow::Cow;

use schemas::control::TopicSource;
use schemas::control::source::{MAX_SOURCE_LABELS, TimeUnit};
use schemas::event_type::is_visible_type;
use schemas::record::{Record, TopicPartition};

use crate::attributes::{GivenAttributes, cut};
use crate::instant::{Precision, push_moment};
use crate::mapping::MappingError;
use crate::pointers::MAX_POINTERS;
use crate::scan::{FoundPlaces, scalar};
use crate::template::{Template, TemplatePart, TemplatePointers};
use crate::{MAX_ID_BYTES, RejectedAt, Rejection, pointer};

/// Characters of a label's name and value, as over HTTP.
const LABEL_CHARACTERS: std::ops::RangeInclusive<usize> = 1..=50;

/// The templates of a source.
#[derive(Clone, Debug)]
pub(crate) struct Templates {
    pub(crate) pointers: TemplatePointers,
    application: Option<Template>,
    event_type: Option<Template>,
    id: Option<Template>,
    time: Option<Template>,
    time_unit: Option<TimeUnit>,
    labels: Vec<(Box<str>, Template)>,
    default_type: Option<Box<str>>,
    /// The slot of the value's pointers where the payload is.
    pub(crate) payload: Option<usize>,
}

/// What templates are filled in with.
#[derive(Debug)]
pub(crate) struct TemplateSubject<'x> {
    pub(crate) record: &'x Record,
    pub(crate) from: &'x TopicPartition,
    pub(crate) value: LookedInto<'x>,
    pub(crate) key: LookedInto<'x>,
    /// Full name of the value's record or message.
    pub(crate) schema_name: Option<&'x str>,
}

/// A JSON text, and where the pointers into it led.
#[derive(Debug, Default)]
pub(crate) struct LookedInto<'x> {
    pub(crate) json: &'x str,
    pub(crate) places: FoundPlaces,
}

/// Why a template comes to nothing.
#[derive(Debug)]
struct Lack<'x> {
    part: &'x TemplatePart,
    what: &'static str,
    /// Something is there, and it cannot be used.
    is_unfit: bool,
}

// === compiling ===

impl Templates {
    /// Compiles what a source says.
    pub(crate) fn compile(source: &TopicSource) -> Result<Self, MappingError> {
        let mut pointers = TemplatePointers::new();
        let mut template = |field: &str, text: Option<&String>| {
            let compiled = text.map(|text| Template::compile(text, &mut pointers)).transpose();
            compiled.map_err(|fault| MappingError::at(field, fault.column, fault.message))
        };
        let application = template("application", source.application.as_ref())?;
        let event_type = template("type", source.event_type.as_ref())?;
        let id = template("id", source.id.as_ref())?;
        let time = template("time", source.time.as_ref())?;
        let mut labels = Vec::with_capacity(source.labels.len());
        if source.labels.len() > MAX_SOURCE_LABELS {
            return Err(MappingError::new("labels", format!("has at most {MAX_SOURCE_LABELS} pairs")));
        }
        for (name, text) in &source.labels {
            let field = format!("labels.{name}");
            if !LABEL_CHARACTERS.contains(&name.chars().count()) {
                return Err(MappingError::new(field, "needs a name of 1 to 50 characters"));
            }
            let compiled = template(&field, Some(text))?;
            labels.extend(compiled.map(|compiled| (name.as_str().into(), compiled)));
        }
        let payload = source.payload.as_deref().map(|text| {
            let steps = pointer::steps(text)
                .map_err(|fault| MappingError::at("payload", fault.at + 1, fault.message.to_owned()))?;
            Ok(pointers.value.add(text, &steps))
        });
        let payload = payload.transpose()?.filter(|_slot| source.payload.as_deref() != Some(""));
        let fixed = event_type.as_ref().and_then(Template::constant);
        for (field, text) in [("type", fixed), ("default_type", source.default_type.as_deref())] {
            if text.is_some_and(|text| !is_visible_type(text)) {
                return Err(MappingError::new(field, "must be 1 to 200 visible ASCII characters"));
            }
        }
        if source.time_unit.is_some() && time.is_none() {
            return Err(MappingError::new("time_unit", "stands only beside `time`"));
        }
        Ok(Self {
            pointers,
            application,
            event_type,
            id,
            time,
            time_unit: source.time_unit,
            labels,
            default_type: source.default_type.as_deref().map(Into::into),
            payload,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Template> {
        let one = [&self.application, &self.event_type, &self.id, &self.time].into_iter().flatten();
        one.chain(self.labels.iter().map(|(_, template)| template))
    }

    /// Whether a record's value has to be looked into.
    pub(crate) fn look_into_the_value(&self) -> bool {
        self.payload.is_some() || self.all().any(Template::looks_into_the_value)
    }

    /// Whether one names the value's schema.
    pub(crate) fn name_the_schema(&self) -> bool {
        self.all().any(Template::names_the_schema)
    }

    pub(crate) fn has_application(&self) -> bool {
        self.application.is_some()
    }

    pub(crate) fn has_type(&self) -> bool {
        self.event_type.is_some() || self.default_type.is_some()
    }

    /// The application, where it is the same for all records.
    pub(crate) fn constant_application(&self) -> Option<&str> {
        self.application.as_ref().and_then(Template::constant)
    }
}

// === filling in ===

impl Templates {
    /// What they say of a record. A type or an id that comes to nothing is left out; anything else is refused.
    pub(crate) fn fill<'x>(&'x self, subject: &TemplateSubject<'x>) -> Result<GivenAttributes<'x>, Rejection> {
        let text = |template: &'x Option<Template>| template.as_ref().map(|template| fill(template, subject));
        let needed = |name: &str, text: Option<Result<Cow<'x, str>, Lack<'x>>>| {
            text.transpose().map_err(|lack| self.refusal(name, &lack))
        };
        let optional = |name: &str, text: Option<Result<Cow<'x, str>, Lack<'x>>>| match text {
            Some(Err(lack)) if lack.is_unfit => Err(self.refusal(name, &lack)),
            Some(Ok(text)) if !text.is_empty() => Ok(Some(text)),
            _nothing => Ok(None),
        };
        let application = needed("application", text(&self.application))?;
        if let Some(application) = &application {
            check_length("application", application, MAX_ID_BYTES)?;
        }
        let time = needed("time", text(&self.time))?.map(|text| self.time(text)).transpose()?;
        Ok(GivenAttributes {
            application,
            event_type: optional("type", text(&self.event_type))?,
            id: optional("id", text(&self.id))?,
            time,
            labels: self.labels(subject)?,
            default_type: self.default_type.as_deref().map(Cow::Borrowed),
        })
    }

    /// The application, where it can be told: also of a record that is no event.
    pub(crate) fn application<'x>(&'x self, subject: &TemplateSubject<'x>) -> Option<Cow<'x, str>> {
        fill(self.application.as_ref()?, subject).ok().filter(|text| !text.is_empty())
    }

    fn time<'x>(&self, text: Cow<'x, str>) -> Result<Cow<'x, str>, Rejection> {
        if schemas::time::is_rfc3339(&text) {
            return Ok(text);
        }
        let refused = |why: &str| Err(Rejection::attribute(format!("attribute `time` is `{}`: {why}", cut(&text))));
        match (text.parse::<i64>(), self.time_unit) {
            (Err(_no_integer), Some(_)) => refused("neither an RFC 3339 time nor an integer of 64 bits"),
            (Err(_no_integer), None) => refused("no RFC 3339 time with a zone, like 2026-11-22T10:30:00Z"),
            (Ok(_), None) => refused("an integer; say with `time_unit` what it counts: s, ms, us or ns"),
            (Ok(count), Some(unit)) => {
                let mut written = Vec::with_capacity(32);
                if !push_moment(&mut written, count, Precision::of(unit)) {
                    return refused("counted in the source's `time_unit` it is not in the years 0 to 9999");
                }
                written.push(b'Z');
                Ok(String::from_utf8(written).unwrap_or_default().into())
            }
        }
    }

    fn labels(&self, subject: &TemplateSubject<'_>) -> Result<Option<Vec<u8>>, Rejection> {
        if self.labels.is_empty() {
            return Ok(None);
        }
        let mut json = Vec::with_capacity(64);
        for (name, template) in &self.labels {
            let attribute = || format!("labels.{name}");
            let value = fill(template, subject).map_err(|lack| self.refusal(&attribute(), &lack))?;
            if !LABEL_CHARACTERS.contains(&value.chars().count()) {
                let detail = format!("attribute `{}` is `{}`, not 1 to 50 characters", attribute(), cut(&value));
                return Err(Rejection::attribute(detail));
            }
            json.push(if json.is_empty() { b'{' } else { b',' });
            push_json(&mut json, name);
            json.push(b':');
            push_json(&mut json, &value);
        }
        json.push(b'}');
        Ok(Some(json))
    }

    fn refusal(&self, attribute: &str, lack: &Lack<'_>) -> Rejection {
        let detail = format!("attribute `{attribute}`: {} {}", self.pointers.shown(lack.part), lack.what);
        let pointer =
            if let TemplatePart::Value(slot) = lack.part { Some(self.pointers.value.text(*slot)) } else { None };
        Rejection { position: pointer.map(|text| RejectedAt::Pointer(text.into())), ..Rejection::attribute(detail) }
    }
}

fn check_length(name: &str, text: &str, limit: usize) -> Result<(), Rejection> {
    if text.is_empty() {
        return Err(Rejection::attribute(format!("attribute `{name}` is empty")));
    }
    if text.len() > limit {
        return Err(Rejection::attribute(format!("attribute `{name}` is longer than {limit} bytes")));
    }
    Ok(())
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is JSON, and a vector takes it");
}

fn fill<'x>(template: &'x Template, subject: &TemplateSubject<'x>) -> Result<Cow<'x, str>, Lack<'x>> {
    match template.parts() {
        [one] => part(one, subject),
        parts => {
            let mut whole = String::with_capacity(64);
            for one in parts {
                whole.push_str(&part(one, subject)?);
            }
            Ok(Cow::Owned(whole))
        }
    }
}

fn part<'x>(part: &'x TemplatePart, subject: &TemplateSubject<'x>) -> Result<Cow<'x, str>, Lack<'x>> {
    let nothing = |what| Err(Lack { part, what, is_unfit: false });
    let unfit = |what| Err(Lack { part, what, is_unfit: true });
    let utf8 = |bytes: &'x [u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_bytes) => unfit("is not UTF-8"),
    };
    match part {
        TemplatePart::Text(text) => Ok(Cow::Borrowed(text)),
        TemplatePart::Value(slot) => subject.value.at(*slot).map_err(|(what, is_unfit)| Lack { part, what, is_unfit }),
        TemplatePart::KeyAt(slot) => subject.key.at(*slot).map_err(|(what, is_unfit)| Lack { part, what, is_unfit }),
        TemplatePart::Key => match &subject.record.key {
            Some(key) => utf8(key),
            None => nothing("is not there: the record has no key"),
        },
        TemplatePart::Header(name) => match subject.record.headers.get(name) {
            Some(value) => utf8(value),
            None => nothing("is not there"),
        },
        TemplatePart::Topic => Ok(Cow::Borrowed(&subject.from.topic)),
        TemplatePart::TopicPart(index) => match subject.from.topic.split('.').nth(*index) {
            Some(text) => Ok(Cow::Borrowed(text)),
            None => nothing("is not there: the topic has fewer parts"),
        },
        TemplatePart::SchemaName => {
            subject.schema_name.map_or_else(|| nothing("is not there"), |name| Ok(Cow::Borrowed(name)))
        }
    }
}

// === impl LookedInto ===

impl<'x> LookedInto<'x> {
    /// The JSON of a slot.
    pub(crate) fn json_at(&self, slot: usize) -> Option<&'x str> {
        self.json.get(self.places.get(slot)?.clone()?)
    }

    fn at(&self, slot: usize) -> Result<Cow<'x, str>, (&'static str, bool)> {
        let Some(json) = self.json_at(slot) else { return Err(("is not there", false)) };
        // What cannot be an attribute is not unescaped to be told so.
        if json.len() > 6 * MAX_ID_BYTES + 2 {
            return Err(("is too long for an attribute, or an object or an array", true));
        }
        match scalar(json) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(("is `null`", false)),
            Err(what) => Err((what, true)),
        }
    }
}

// Every pointer of a template and the payload's has a bit in the scanner's objects.
const _: () = assert!(MAX_POINTERS < 128);
