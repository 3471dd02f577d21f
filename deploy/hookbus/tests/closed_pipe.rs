//! A closed pipe is a quiet end: `hookbus status | head -3` is an answer that was read as far as somebody cared.

use std::process::{Command, Stdio};

/// Runs the binary with an output that nobody reads, from its first byte on.
fn unread(arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut hookbus = Command::new(env!("CARGO_BIN_EXE_hookbus"));
    let output = hookbus.args(arguments).stdin(Stdio::null()).stdout(writer).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn answers_that_nobody_reads_are_no_failure() {
    for arguments in [
        &["config", "show"][..],
        &["config", "reference"],
        &["acls"],
        &["--help"],
        &["--version"],
        &["subscription", "--help"],
        &["help", "topics"],
    ] {
        assert_eq!(unread(arguments), (Some(0), String::new()), "{arguments:?}");
    }
}

#[test]
fn what_fails_still_does() {
    let (code, said) = unread(&["config", "show", "--config", "/no/such/file.toml"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("/no/such/file.toml"), "{said}");
    assert_eq!(unread(&["no-such-command"]).0, Some(64));
}
