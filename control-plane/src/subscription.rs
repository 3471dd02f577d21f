//! A subscription between its JSON and its control object: what may be given, what is kept, what is shown.
//!
//! [`Input::read`] looks at the request alone; [`Input::apply`] puts it over the former object (or nothing), with the
//! snapshot's facts in [`Facts`]. [`Rotation`] gives it a new secret beside the former one, [`ping`](ping::ping) makes a
//! delivery without an event. All are pure but for the random bytes of new secrets and envelopes.

mod auth;
mod describe;
mod filter;
pub(crate) mod health;
mod input;
mod keys;
mod patch;
pub(crate) mod ping;
mod retry_now;
mod rotate;
mod show;
mod skip;

#[cfg(test)]
pub(crate) use self::filter::compiled;
pub(crate) use describe::shapes;
pub(crate) use input::{Facts, Input};
pub(crate) use patch::PatchInput;
pub(crate) use retry_now::retry_now;
pub(crate) use rotate::Rotation;
pub(crate) use show::{Sees, SubscriptionShown, View, show};
pub(crate) use skip::skip;
