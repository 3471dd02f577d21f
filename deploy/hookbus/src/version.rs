//! Which Hookbus this is, for people and for Prometheus.

use std::sync::LazyLock;

use chassis::version::{REVISION, VERSION};
use prometheus::{IntGaugeVec, Opts, Registry};

/// Version and revision, for people. A binary that was built for tests says so wherever it tells its version: bugs can be
/// planted in it.
pub(crate) static TEXT: LazyLock<String> = LazyLock::new(|| {
    let notes = [REVISION, if schemas::planted::CAN_PLANT { "planted-bugs" } else { "" }];
    let notes: Vec<&str> = notes.into_iter().filter(|note| !note.is_empty()).collect();
    if notes.is_empty() { VERSION.to_owned() } else { format!("{VERSION} ({})", notes.join(", ")) }
});

/// Adds `hookbus_build_info`, which is always 1, to a registry.
///
/// # Errors
/// When the name is taken.
pub(crate) fn register(registry: &Registry) -> prometheus::Result<()> {
    let opts = Opts::new("hookbus_build_info", "1, with the version and revision of this binary.");
    let info = IntGaugeVec::new(opts, &["version", "revision"])?;
    info.with_label_values(&[VERSION, REVISION]).set(1);
    registry.register(Box::new(info))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_and_the_metric_name_one_version() {
        let registry = Registry::new();
        register(&registry).unwrap();
        let metrics = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let expected = format!("hookbus_build_info{{revision=\"{REVISION}\",version=\"{VERSION}\"}} 1");
        assert!(metrics.contains(&expected), "{metrics}");
        let said = crate::cli::Cli::command().render_version();
        assert!(said.starts_with(&format!("hookbus {VERSION}")) && said.contains(REVISION), "{said}");
    }
}
