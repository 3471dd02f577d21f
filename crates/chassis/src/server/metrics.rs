//! What a listener counts.

use prometheus::{IntCounterVec, IntGauge};

use super::Closed;
use crate::metrics::{Metrics, MetricsError};

/// Metrics of the listener of a role.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    /// Open connections.
    pub connections: IntGauge,
    /// Open connections without a request that showed a known token.
    pub without_token: IntGauge,
    /// Requests being served.
    pub requests: IntGauge,
    /// Bytes that bodies of requests hold in memory, also as what they become when they are read.
    pub body_bytes: IntGauge,
    /// Connections, and streams of HTTP/2 connections, that the server ended, by reason.
    pub closed: IntCounterVec,
}

impl ServerMetrics {
    /// Registered among those of a role.
    ///
    /// # Errors
    /// A name is taken.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            connections: metrics.gauge("connections", "Open connections.")?,
            without_token: metrics
                .gauge("connections_without_token", "Open connections without a request that showed a known token.")?,
            requests: metrics.gauge("requests_in_flight", "Requests being served.")?,
            body_bytes: metrics.gauge(
                "body_bytes",
                "Bytes that bodies of requests hold in memory, also as what they become when they are read.",
            )?,
            closed: {
                let help = "Connections, and streams of HTTP/2 connections, that the server ended, by reason.";
                let closed = metrics.counters("connections_closed_total", help, &["reason"])?;
                for reason in Closed::ALL {
                    closed.with_label_values(&[reason.name()]).inc_by(0);
                }
                closed
            },
        })
    }
}
