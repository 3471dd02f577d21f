//! What others rely on and no release may change unseen: records that lie in topics, signatures that receivers verify, the names
//! of metrics that dashboards read, the keys of the configuration.

#[cfg(test)]
mod configuration;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod records;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod sizing;
