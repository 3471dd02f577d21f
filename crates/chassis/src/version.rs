//! Which Hookbus this is: what `--version` prints, `hookbus_build_info` says and every role tells on `status`.

/// Version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built, where the build was told it; else empty. A build that asked git itself would differ with every commit.
pub const REVISION: &str = match option_env!("HOOKBUS_REVISION") {
    Some(revision) => revision,
    None => "",
};
