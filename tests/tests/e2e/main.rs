//! Hookbus end to end: real Kafka, every role a process, and after each test the ledger.

#[cfg(test)]
mod backfill;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod fanout;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod offsets;
#[cfg(test)]
mod ordering;
#[cfg(test)]
mod producers;
#[cfg(test)]
mod registries;
#[cfg(test)]
mod rejected;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod waiting;
