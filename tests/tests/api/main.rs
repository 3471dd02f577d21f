//! The management API as its users see it: published clients, generated requests, conflicting writers, tokens of every kind.

#[cfg(test)]
mod acls;
#[cfg(test)]
mod apply;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod closed_pipe;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod contention;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod erased;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod health;
#[cfg(test)]
mod log;
#[cfg(test)]
mod matching;
#[cfg(test)]
mod one_address;
#[cfg(test)]
mod one_port;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod queued;
#[cfg(test)]
mod receivers;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod subscription_health;
#[cfg(test)]
mod subscriptions;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod tools;
