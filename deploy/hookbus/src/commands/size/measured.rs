//! What `hookbus size` computes with, and where each number was measured. One place, so that a new measurement changes one line.
//!
//! CPU is that of the machine of the measurement: two cores, Kafka 4.3.1 with one broker beside it. A core of another machine may do
//! half or twice as much: `make bench` there says how much.

/// CPU seconds of the gateway per event that comes in by itself: `make bench ingest`, 64 connections, quiet machine.
pub(super) const GATEWAY: f64 = 3.19 / 100_000.0;
/// CPU seconds of the fan-out per event with one match: `make bench fanout`, quiet machine. Further matches of an event are counted as
/// events of their own, which they cost at most.
pub(super) const FANOUT: f64 = 1.75 / 100_000.0;
/// CPU seconds of the delivery worker per attempt: `make bench delivery`, 64 in flight, quiet machine.
pub(super) const DELIVERY: f64 = 3.82 / 100_000.0;
/// TLS over kept connections takes so many times as much of an attempt.
pub(super) const TLS: f64 = 1.3;
/// Up to so many in flight an attempt costs so many times what it costs with 64: `make bench drain` beside a bare client, 1.52, 1.81 and
/// 2.56 times (ARCHITECTURE.md, "What a delivery costs the worker").
pub(super) const CROWDED: [(f64, f64); 3] = [(64.0, 1.0), (512.0, 1.81 / 1.52), (f64::INFINITY, 2.56 / 1.52)];
/// CPU seconds of the retry scheduler per move: not measured by itself. What the fan-out takes for an event is more than a move is.
pub(super) const RETRY: f64 = FANOUT;
/// Moves of a retry until it is back on `deliveries`: one to its tier and back, and often one hop of a shorter tier.
pub(super) const MOVES: f64 = 1.5;
/// CPU seconds of each control plane per record of `attempts`: 1 for reading reports, and what the projection of the delivery log may
/// take at most.
pub(super) const CONTROL: f64 = (1.0 + 2.5) / 100_000.0;

/// Records of a transaction while there is little to do: at 200 events/s a handful (ARCHITECTURE.md, "A batch waits for company").
pub(super) const HANDFUL: f64 = 4.0;
/// Transactions per second of one process at most: each takes 10 ms.
pub(super) const TRANSACTIONS: f64 = 100.0;
/// Outcomes are committed at most this long after each other.
pub(super) const LEAST_TRANSACTIONS: f64 = 5.0;
/// CPU seconds of the brokers per transaction, by the partitions that it writes to: measured with one broker.
pub(super) const BROKER: [(f64, f64); 5] = [(1.0, 0.009), (8.0, 0.015), (64.0, 0.039), (128.0, 0.080), (256.0, 0.208)];

/// Bytes of a record beside its payload, its headers for the most part: those of `schemas/golden`, and what Kafka adds.
pub(super) const EVENT_BYTES: f64 = 480.0;
/// The same of a delivery.
pub(super) const DELIVERY_BYTES: f64 = 900.0;
/// Of one record of `attempts`: batches of hundreds, compressed with zstd.
pub(super) const ATTEMPT_BYTES: f64 = 91.0;
/// Of one identity on `seen`, which holds 16 bytes of it, packed.
pub(super) const SEEN_BYTES: f64 = 20.0;
/// What a request to an endpoint has beside its payload, answer and TLS included.
pub(super) const REQUEST_BYTES: f64 = 1_200.0;
