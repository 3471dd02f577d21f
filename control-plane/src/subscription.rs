//! A subscription between its JSON and its control object: what may be given, what is kept, what is shown.
//!
//! [`Input::read`] looks at the request alone; [`Input::apply`] puts it over the former object (or nothing), with the
//! snapshot's facts in [`Facts`]. Both are pure but for the random bytes of new secrets and envelopes.

mod input;
mod show;

pub(crate) use input::{Facts, Input};
pub(crate) use show::show;
