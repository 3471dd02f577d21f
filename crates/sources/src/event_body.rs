//! The body of `POST /event`, read and checked: by the gateway as it comes over HTTP, and as a format of sources.
//!
//! ```text
//! body --parse--> fields, as slices of it --validate--> an event, or the problem that names every fault
//! ```

pub mod faults;
pub mod json;
pub mod parse;
pub mod validate;
