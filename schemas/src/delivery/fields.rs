//! The headers of a delivery found in one pass: there are about twenty, and every worker decodes every delivery.

use std::str::FromStr;

use super::DeliveryError;
use crate::header;
use crate::record::{Headers, Place};

/// The headers that are looked for, by their place in [`Fields`].
const NAMES: [&str; 23] = [
    header::CE_ID,
    header::CE_SOURCE,
    header::CE_TYPE,
    header::CE_TIME,
    header::CONTENT_TYPE,
    header::APPLICATION,
    header::DELIVERY,
    header::SUBSCRIPTION,
    header::GENERATION,
    header::ACCEPTED,
    header::DEADLINE,
    header::CONTROL_OFFSET,
    header::ORIGIN,
    header::ATTEMPT,
    header::DUE,
    header::WAIT,
    header::PARKS,
    header::FAILING_SINCE,
    header::MADE_BY,
    header::REDRIVES,
    header::ONCE,
    header::ORDERING_KEY,
    header::DEPRECATION,
];

/// Where each header's last value stands, if it is there.
pub(super) struct Fields<'a> {
    headers: &'a Headers,
    places: [Option<Place>; NAMES.len()],
}

/// The texts of a delivery that are read again and again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts {
    pub(super) id: Place,
    pub(super) source: Place,
    pub(super) event_type: Place,
    pub(super) time: Option<Place>,
    pub(super) content_type: Option<Place>,
    pub(super) origin: Option<Place>,
    pub(super) made_by: Option<Place>,
    pub(super) redrives: Option<Place>,
    pub(super) once: Option<Place>,
    pub(super) deprecation: Option<Place>,
}

impl<'a> Fields<'a> {
    /// One pass.
    pub(super) fn of(headers: &'a Headers) -> Self {
        let mut places = [None; NAMES.len()];
        for (name, place) in headers.places() {
            if let Some(field) = field(name) {
                places[field] = Some(place);
            }
        }
        Self { headers, places }
    }

    /// A header that has to be there.
    pub(super) fn parse<T: FromStr>(&self, name: &'static str, expected: &'static str) -> Result<T, DeliveryError> {
        self.optional(name, expected)?.ok_or(DeliveryError::Missing(name))
    }

    /// A header that may be there.
    pub(super) fn optional<T: FromStr>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, DeliveryError> {
        let Some(place) = self.place(name) else { return Ok(None) };
        let value = self.text_at(name, place)?;
        let parsed = value.parse().map(Some);
        parsed.map_err(|_invalid| DeliveryError::Invalid { name, value: value.to_owned(), expected })
    }

    /// The texts, of which the event's own three have to be there.
    pub(super) fn texts(&self) -> Result<Texts, DeliveryError> {
        let required = |name| {
            let place = self.place(name).ok_or(DeliveryError::Missing(name))?;
            self.text_at(name, place).map(|_text| place)
        };
        Ok(Texts {
            id: required(header::CE_ID)?,
            source: required(header::CE_SOURCE)?,
            event_type: required(header::CE_TYPE)?,
            time: self.place(header::CE_TIME),
            content_type: self.place(header::CONTENT_TYPE),
            origin: self.place(header::ORIGIN),
            made_by: self.place(header::MADE_BY),
            redrives: self.place(header::REDRIVES),
            once: self.place(header::ONCE),
            deprecation: self.place(header::DEPRECATION),
        })
    }

    fn place(&self, name: &str) -> Option<Place> {
        field(name.as_bytes()).and_then(|field| self.places[field])
    }

    fn text_at(&self, name: &'static str, place: Place) -> Result<&'a str, DeliveryError> {
        let value = self.headers.at(place);
        std::str::from_utf8(value).map_err(|_invalid| DeliveryError::Invalid {
            name,
            value: String::from_utf8_lossy(value).into_owned(),
            expected: "UTF-8",
        })
    }
}

/// Literals, so that the compiler decides by length first; a test keeps them in step with [`NAMES`].
fn field(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"ce_id" => 0,
        b"ce_source" => 1,
        b"ce_type" => 2,
        b"ce_time" => 3,
        b"content-type" => 4,
        b"hookbus-application" => 5,
        b"hookbus-delivery" => 6,
        b"hookbus-subscription" => 7,
        b"hookbus-generation" => 8,
        b"hookbus-accepted" => 9,
        b"hookbus-deadline" => 10,
        b"hookbus-control-offset" => 11,
        b"hookbus-origin" => 12,
        b"hookbus-attempt" => 13,
        b"hookbus-due" => 14,
        b"hookbus-wait" => 15,
        b"hookbus-parks" => 16,
        b"hookbus-failing-since" => 17,
        b"hookbus-made-by" => 18,
        b"hookbus-redrives" => 19,
        b"hookbus-once" => 20,
        b"hookbus-ordering-key" => 21,
        b"hookbus-deprecation" => 22,
        _another => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_at_its_own_place() {
        for (expected, name) in NAMES.iter().enumerate() {
            assert_eq!(field(name.as_bytes()), Some(expected), "{name}");
        }
        assert_eq!(field(b"hookbus-labels"), None);
    }

    #[test]
    fn of_a_repeated_header_the_last_value_counts() {
        let headers: Headers = [("hookbus-attempt", "1"), ("x", "y"), ("hookbus-attempt", "2")].into_iter().collect();
        assert_eq!(Fields::of(&headers).parse::<u32>(header::ATTEMPT, "a number"), Ok(2));
    }
}
