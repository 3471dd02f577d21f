//! The list of an application's subscriptions: whole, and written piece by piece, so that ten thousand of them cost no more
//! memory than a hundred.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use catalog::Subscription;
use http::{HeaderValue, header};
use hyper::body::Frame;

use super::view;
use crate::problem::{Answer, Problem, internal};
use crate::query::Query;
use crate::state::App;
use crate::subscription::{Sees, show};

/// Subscriptions of one piece: some ms of opening secrets, some 100 KB.
const PIECE: usize = 100;

/// What the request leaves over.
pub(super) struct Fitting<'a> {
    event_type: Option<&'a str>,
    label_key: Option<&'a str>,
    label_value: Option<&'a str>,
}

/// A JSON list that is made while it is sent.
struct Listing {
    app: Arc<App>,
    left: std::vec::IntoIter<Arc<Subscription>>,
    sees: Sees,
    begun: bool,
    done: bool,
}

// === impl Fitting ===

impl<'a> Fitting<'a> {
    pub(super) fn of(query: &'a Query) -> Self {
        Self {
            event_type: query.get("event_type"),
            label_key: query.get("label_key"),
            label_value: query.get("label_value"),
        }
    }

    pub(super) fn takes(&self, subscription: &Subscription) -> bool {
        if self.event_type.is_none() && self.label_key.is_none() && self.label_value.is_none() {
            return true;
        }
        let object = subscription.object();
        let fits = self.event_type.is_none_or(|name| object.event_types.iter().any(|it| it.matches(name)));
        let wanted = |key: &str, value: &str| {
            self.label_key.is_none_or(|wanted| wanted == key) && self.label_value.is_none_or(|wanted| wanted == value)
        };
        let unlabelled = self.label_key.is_none() && self.label_value.is_none();
        fits && (unlabelled || object.labels.iter().any(|(key, value)| wanted(key, value)))
    }
}

/// The answer. What does not open in the first piece is a problem; later it ends the connection, and is logged.
pub(super) fn answer(app: Arc<App>, found: Vec<Arc<Subscription>>, sees: Sees) -> Answer {
    let mut listing = Listing { app, left: found.into_iter(), sees, begun: false, done: false };
    let first = listing.piece()?;
    let body = if listing.done { Body::from(first) } else { Body::new(Begun { first: Some(first), listing }) };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

// === impl Listing ===

impl Listing {
    fn piece(&mut self) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::with_capacity(PIECE * 1_024);
        for _ in 0..PIECE {
            let Some(next) = self.left.next() else { break };
            bytes.push(if self.begun { b',' } else { b'[' });
            self.begun = true;
            let shown = show(&next.object(), view(&self.app, self.sees))?;
            serde_json::to_writer(&mut bytes, &shown)
                .map_err(|error| internal("a subscription could not be shown", &error))?;
        }
        if self.left.len() == 0 {
            bytes.extend_from_slice(if self.begun { b"]" } else { b"[]" });
            self.done = true;
        }
        Ok(bytes)
    }
}

/// A list whose first piece is made.
struct Begun {
    first: Option<Vec<u8>>,
    listing: Listing,
}

impl hyper::body::Body for Begun {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let frame = |bytes: Vec<u8>| Poll::Ready(Some(Ok(Frame::data(Bytes::from(bytes)))));
        if let Some(first) = self.first.take() {
            return frame(first);
        }
        if self.listing.done {
            return Poll::Ready(None);
        }
        match self.listing.piece() {
            Ok(bytes) => frame(bytes),
            Err(problem) => {
                self.listing.done = true;
                Poll::Ready(Some(Err(std::io::Error::other(problem.into_detail()))))
            }
        }
    }
}
