//! The testkit: broker, supervisor, fake endpoint, chaos proxy, ledger.
