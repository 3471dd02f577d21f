//! What every role stands on: configuration, telemetry, admin port, HTTP server, health, shutdown, tasks, clock.
//!
//! A process starts like this: `config::load` → `telemetry::init` → `Shutdown::on_signals` → bind the admin port →
//! start the roles as `Tasks`, which take `Health` latches and register their metrics → `Tasks::join`.
//! Nothing here knows what a role does; nothing here is global.

pub mod admin;
pub mod body_budget;
pub mod clock;
pub mod config;
pub mod follow;
pub mod health;
pub mod limited;
pub mod metrics;
pub mod pending;
pub mod proxies;
pub mod server;
pub mod shutdown;
pub mod status;
pub mod tasks;
pub mod telemetry;
pub mod version;
