//! Which request is ours. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

const EVENT: &str = "/api/v1/event";
const BATCH: &str = "/api/v1/events:batch";

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// One event.
    Event,
    /// Many events.
    Batch,
    /// Not ours.
    Other,
}

impl Route {
    /// Trailing and doubled slashes do not matter, and a client may have escaped the colon.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            EVENT => return Self::Event,
            BATCH => return Self::Batch,
            _other => {}
        }
        match normal(path).as_ref() {
            EVENT => Self::Event,
            BATCH => Self::Batch,
            _other => Self::Other,
        }
    }
}

fn normal(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    // Routed by its raw segments: an escaped slash never makes a new one.
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let decoded: Cow<'_, str> = percent_decode_str(segment).decode_utf8_lossy();
        normal.push('/');
        normal.push_str(&decoded.replace('/', "%2F"));
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_escapes_do_not_matter_but_an_escaped_slash_does() {
        for path in ["/api/v1/event", "/api/v1/event/", "//api//v1///event//", "/api/v1/%65vent"] {
            assert_eq!(Route::of(path), Route::Event, "{path}");
        }
        for path in ["/api/v1/events:batch", "/api/v1/events%3Abatch/"] {
            assert_eq!(Route::of(path), Route::Batch, "{path}");
        }
        for path in ["/", "", "*", "/api/v1/events", "/api/v1%2Fevent", "/api/v1/event/x", "/API/v1/event"] {
            assert_eq!(Route::of(path), Route::Other, "{path}");
        }
    }
}
