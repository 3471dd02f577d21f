//! What a process holds, and counts as a table takes them.

use testkit::Process;
use testkit::supervisor::resident_now;

/// A number of a table.
#[expect(clippy::cast_precision_loss, reason = "counts, and bytes of a process, far below 2^52")]
pub(crate) fn wide(count: u64) -> f64 {
    count as f64
}

/// Memory of a process now, MiB.
///
/// # Errors
/// It is gone.
pub(crate) fn mib(process: &Process) -> anyhow::Result<f64> {
    Ok(wide(resident_now(process.pid())?) / f64::from(1 << 20))
}

/// Descriptors of a process now.
///
/// # Errors
/// It is gone.
pub(crate) fn descriptors(process: &Process) -> anyhow::Result<f64> {
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.pid()))?.count();
    Ok(f64::from(u32::try_from(open)?))
}
