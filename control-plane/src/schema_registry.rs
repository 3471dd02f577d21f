//! A schema registry between its JSON and its control object, and what asks it.
//!
//! ```text
//! body --input--> RegistryInput --apply--> SchemaRegistry --> the store
//!                  auth: sealed, kept where the mask or nothing stands    show: masked
//! ```
//!
//! The operator alone names registries, so they may stand anywhere: they are services of the operator's own network, and what guards
//! targets of subscriptions against that network does not hold for them.

mod asker;
mod auth;
mod describe;
mod input;
mod show;

pub(crate) use asker::RegistryAsker;
pub(crate) use describe::shapes;
#[cfg(test)]
pub(crate) use input::FIELDS;
pub(crate) use input::RegistryInput;
pub(crate) use show::{RegistryCheckShown, SchemaRegistryShown};
