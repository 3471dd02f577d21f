//! The faults that sink such systems, on real Kafka, each with the ledger balanced after it.
//!
//! What runs in `make test` is short and asserts no timing. What is `#[ignore]`d is long (`make faults`): 20 kills under
//! load, 50,000 records, pauses of the broker, three brokers; it measures deadlines and prints the margin.

#[cfg(test)]
mod beginnings;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod caps;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod control;
#[cfg(test)]
mod dead;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod long;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod played;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod scenes;
#[cfg(test)]
mod seen;
#[cfg(test)]
mod slices;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod standstill;
#[cfg(test)]
mod stranger;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod unknown;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod windows;
