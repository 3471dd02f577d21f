//! The committed reference is what the binary prints: a key that goes or changes its default is seen in a review.

use std::path::Path;

use testkit::environment::hookbus_binary;
use tokio::process::Command;

#[tokio::test]
async fn the_reference_is_what_the_binary_knows() {
    let output = Command::new(hookbus_binary().unwrap()).args(["config", "reference"]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let committed = std::fs::read_to_string(committed).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let differing = committed.trim_end().lines().zip(printed.trim_end().lines()).find(|(left, right)| left != right);
    assert_eq!(differing, None, "docs/configuration.md is old: cargo test -p chassis -- --ignored write_the_reference");
    assert_eq!(committed.trim_end().lines().count(), printed.trim_end().lines().count());
}
