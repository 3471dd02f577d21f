//! A wall clock that its test moves, for processes that load it first.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The library, and the file that says by how much. Both are gone with it.
#[derive(Debug)]
pub struct MovedClock {
    folder: tempfile::TempDir,
}

impl MovedClock {
    /// Builds the library; the clock is as it should be.
    ///
    /// # Errors
    /// There is no C compiler, or it cannot build it.
    pub fn build() -> anyhow::Result<Self> {
        let clock = Self { folder: tempfile::tempdir()? };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/moved_clock.c");
        let library = clock.folder.path().join("clock.so");
        let mut compiler = Command::new("cc");
        let built = compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
        ensure!(built.context("running cc")?.success(), "cc cannot build {}", source.display());
        clock.moved_by(0)?;
        Ok(clock)
    }

    /// So many seconds on from now on. Written in place: the processes have the file mapped.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn moved_by(&self, seconds: i64) -> anyhow::Result<()> {
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.file())?;
        Ok(file.write_all_at(&seconds.to_ne_bytes(), 0)?)
    }

    /// What makes a process of ours go by it.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let library = self.folder.path().join("clock.so");
        let variables = [("LD_PRELOAD", library), ("CLOCK_OFFSET_FILE", self.file())];
        variables.map(|(name, path)| (name.to_owned(), path.display().to_string())).into()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}
