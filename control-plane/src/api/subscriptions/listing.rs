//! The list of an application's subscriptions, written piece by piece, so that ten thousand of them cost no more memory than a
//! hundred.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use catalog::Subscription;
use catalog::index::Indexed as _;
use http::{HeaderValue, header};
use hyper::body::Frame;
use schemas::ids::SubscriptionId;

use super::super::linked;
use super::view;
use crate::auth::Principal;
use crate::page::{Page, Rows};
use crate::problem::{Answer, Problem, internal};
use crate::query::Query;
use crate::state::App;
use crate::subscription::{Sees, show};
use crate::turns::OwnedTurn;

/// Subscriptions of one piece: some ms of opening secrets, some 100 KB.
const PIECE: usize = 100;
/// Subscriptions that are taken under one lock.
const LOOK: usize = 100;
/// What one request may look at: a subscription is one, and one whose packed part is looked into is [`UNPACKED`].
const LOOKED_AT: usize = if cfg!(test) { 2_000 } else { 200_000 };
const UNPACKED: usize = 20;

/// What the request leaves over.
struct Fitting<'a> {
    event_type: Option<&'a str>,
    label_key: Option<&'a str>,
    label_value: Option<&'a str>,
    is_enabled: Option<bool>,
    disabled_reason: Option<&'a str>,
    uid: Option<&'a str>,
    host: Option<&'a str>,
}

/// Whether a subscription is one that is asked for, by what stands open in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// The rest of it must be looked into: most of a subscription is packed.
    Perhaps,
}

/// A JSON list that is made while it is sent.
struct Listing {
    /// Until all of it is sent.
    _turn: Option<OwnedTurn>,
    app: Arc<App>,
    left: std::vec::IntoIter<Arc<Subscription>>,
    sees: Sees,
    begun: bool,
    done: bool,
}

// === impl Fitting ===

impl<'a> Fitting<'a> {
    fn of(query: &'a Query) -> Result<Self, Problem> {
        Ok(Self {
            event_type: query.get("event_type"),
            label_key: query.get("label_key"),
            label_value: query.get("label_value"),
            is_enabled: query.flag("is_enabled")?,
            disabled_reason: query.get("disabled_reason"),
            uid: query.get("uid"),
            host: query.get("host"),
        })
    }

    fn fit(&self, subscription: &Subscription) -> Fit {
        let wanted = |key: &str, value: &str| {
            self.label_key.is_none_or(|wanted| wanted == key) && self.label_value.is_none_or(|wanted| wanted == value)
        };
        let unlabelled = self.label_key.is_none() && self.label_value.is_none();
        // One that is enabled has no reason why it is not.
        let is_enabled = self.is_enabled.is_none_or(|wanted| subscription.is_enabled() == wanted)
            && !(self.disabled_reason.is_some() && subscription.is_enabled());
        let fits = is_enabled
            && self.uid.is_none_or(|wanted| subscription.uid() == Some(wanted))
            && self.event_type.is_none_or(|name| subscription.patterns().iter().any(|it| it.matches(name)))
            && (unlabelled || subscription.labels().iter().any(|(key, value)| wanted(key, value)));
        match (fits, self.disabled_reason.is_none() && self.host.is_none()) {
            (false, _) => Fit::No,
            (true, true) => Fit::Yes,
            (true, false) => Fit::Perhaps,
        }
    }

    fn takes_object(&self, object: &schemas::control::Subscription) -> bool {
        let on_host = |wanted: &str| {
            let url = url::Url::parse(&object.target.url).ok();
            url.is_some_and(|url| url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(wanted)))
        };
        self.disabled_reason.is_none_or(|wanted| object.disabled_reason.as_deref() == Some(wanted))
            && self.host.is_none_or(on_host)
    }
}

/// The page that is asked for. The snapshot is locked for some of them at a time: looking into thousands, and opening their
/// secrets, is not done under the lock. A request looks at so many, and its page says where the next one begins.
pub(super) async fn find(app: &App, principal: &Principal, query: &Query) -> Result<Rows<Arc<Subscription>>, Problem> {
    let (page, fitting) = (Page::of(query)?, Fitting::of(query)?);
    let mut after = page.after_id()?.map(SubscriptionId);
    let (mut found, mut left) = (Vec::new(), LOOKED_AT);
    loop {
        let looked: Vec<Arc<Subscription>> = {
            let snapshot = app.catalog().read();
            let application = principal.application(&snapshot, query.required("application_id")?)?.application_id;
            let comes = |it: &&Arc<Subscription>| after.is_none_or(|after| it.id() > after);
            match fitting.uid {
                Some(uid) => {
                    snapshot.subscription_by_uid(application, uid).filter(comes).cloned().into_iter().collect()
                }
                None => snapshot.subscriptions_after(application, after).take(LOOK).cloned().collect(),
            }
        };
        let is_last = looked.len() < LOOK;
        after = looked.last().map(|it| it.id()).or(after);
        for it in looked {
            let fit = fitting.fit(&it);
            left = left.saturating_sub(if fit == Fit::Perhaps { UNPACKED } else { 1 });
            if fit == Fit::Yes || fit == Fit::Perhaps && fitting.takes_object(&it.object()) {
                found.push(it);
            }
        }
        if is_last || found.len() > page.wanted() {
            return page.cut(found.into_iter(), |it| it.id().to_string());
        }
        if let Some(last) = after.filter(|_| left == 0) {
            return page.stopped(found, last.to_string());
        }
        tokio::task::yield_now().await;
    }
}

/// The answer. What does not open in the first piece is a problem; later it ends the connection, and is logged.
pub(super) fn answer(
    app: Arc<App>,
    turn: Option<OwnedTurn>,
    found: Rows<Arc<Subscription>>,
    sees: Sees,
    query: &Query,
) -> Answer {
    let link = found.link(query)?;
    let mut listing = Listing { _turn: turn, app, left: found.rows.into_iter(), sees, begun: false, done: false };
    let first = listing.piece()?;
    let body = if listing.done { Body::from(first) } else { Body::new(Begun { first: Some(first), listing }) };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    linked(&mut response, link);
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
