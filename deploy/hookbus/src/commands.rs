//! One file per subcommand.

pub(crate) mod acls;
pub(crate) mod application;
pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod deadletters;
pub(crate) mod event;
pub(crate) mod event_type;
pub(crate) mod export;
pub(crate) mod follow;
pub(crate) mod job;
pub(crate) mod lanes;
pub(crate) mod log;
pub(crate) mod logged;
pub(crate) mod offsets;
pub(crate) mod organization;
pub(crate) mod ready;
pub(crate) mod replay;
pub(crate) mod retries;
pub(crate) mod role;
pub(crate) mod source;
pub(crate) mod status;
pub(crate) mod subscription;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod topics;
