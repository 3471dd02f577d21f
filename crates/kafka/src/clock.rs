//! The clocks. Everything that needs "now" gets it from here, so that decisions elsewhere stay pure.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall clock, Unix milliseconds. For due times, timestamps and everything that leaves the process.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Monotonic clock, for measuring spans inside a running process.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Milliseconds of a monotonic clock that goes on while the process or the machine is suspended (`CLOCK_BOOTTIME`).
/// For "may I still own this": a frozen process must notice how long it was gone.
#[must_use]
pub fn boot_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

/// The monotonic clock as of the kernel's last tick, some milliseconds ago at most, ms (`CLOCK_MONOTONIC_COARSE`).
///
/// For spans of seconds that are measured for each record: nothing but memory is read.
#[must_use]
pub fn coarse_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}
