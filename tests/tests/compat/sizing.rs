//! The page about sizes shows what `hookbus size` prints: a constant that changes is seen in a review.

use std::path::{Path, PathBuf};

use testkit::environment::hookbus_binary;
use tokio::process::Command;

/// What begins a block of the page with the command that printed it.
const PROMPT: &str = "$ hookbus size ";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sizing.md")
}

/// The page with each block printed anew.
async fn printed(page: &str) -> String {
    // With nobody's configuration in the way.
    let folder = tempfile::tempdir().unwrap();
    let mut written = String::new();
    let mut skipping = false;
    for line in page.lines() {
        skipping &= line != "```";
        if !skipping {
            written.push_str(line);
            written.push('\n');
        }
        let Some(arguments) = line.strip_prefix(PROMPT) else { continue };
        skipping = true;
        let mut command = Command::new(hookbus_binary().unwrap());
        command.arg("size").args(arguments.split_whitespace()).current_dir(folder.path());
        let output = command.env_clear().env("HOSTNAME", "anywhere").output().await.unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        written.push_str(&String::from_utf8(output.stdout).unwrap());
    }
    written
}

#[tokio::test]
async fn the_page_shows_what_the_binary_says() {
    let committed = std::fs::read_to_string(page()).unwrap();
    assert_eq!(committed.matches(PROMPT).count(), 4, "four sizes");
    let printed = printed(&committed).await;
    let differing = committed.lines().zip(printed.lines()).find(|(left, right)| left != right);
    let hint = "docs/sizing.md is old: cargo test -p testkit --test compat -- --ignored write_the_sizes";
    assert_eq!((differing, committed.lines().count()), (None, printed.lines().count()), "{hint}");
}

#[tokio::test]
#[ignore = "writes docs/sizing.md"]
async fn write_the_sizes() {
    let committed = std::fs::read_to_string(page()).unwrap();
    std::fs::write(page(), printed(&committed).await).unwrap();
}
