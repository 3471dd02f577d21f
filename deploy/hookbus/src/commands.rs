//! One file per subcommand.

pub(crate) mod config;
pub(crate) mod role;
pub(crate) mod tail;
pub(crate) mod topics;
