//! Kafka's jars, fetched through Maven once and kept in a cache folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::process::Command;

use crate::KafkaDevError;
use crate::error::tail_of;

/// The Kafka that development and tests run.
pub const KAFKA_VERSION: &str = "4.3.1";

const POM: &str = include_str!("../pom.xml");
/// Downloads of one process each need a folder of their own.
static DOWNLOADS: AtomicU32 = AtomicU32::new(0);
/// A line of progress this often while Maven is quiet.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A folder that holds Kafka and everything it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jars {
    folder: PathBuf,
}

impl Jars {
    /// Uses a folder of jars somebody else has filled.
    #[must_use]
    pub const fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What `java -cp` takes.
    #[must_use]
    pub fn class_path(&self) -> OsString {
        self.folder.join("*").into_os_string()
    }

    fn complete(&self) -> bool {
        self.folder.join(format!("kafka-clients-{KAFKA_VERSION}.jar")).is_file()
    }
}

/// Makes sure that Kafka's jars are in a folder below `cache_dir`. The first call downloads (44 MB), later ones find
/// them. What happens is told to `progress`, a line at a time.
///
/// # Errors
/// Maven is missing or fails, or the folder cannot be written.
pub async fn prepare(cache_dir: &Path, mut progress: impl FnMut(&str)) -> Result<Jars, KafkaDevError> {
    std::fs::create_dir_all(cache_dir).map_err(KafkaDevError::file("create", cache_dir))?;
    let cache_dir = cache_dir.canonicalize().map_err(KafkaDevError::file("find", cache_dir))?;
    let jars = Jars::in_folder(cache_dir.join(format!("kafka-{KAFKA_VERSION}")));
    if jars.complete() {
        return Ok(jars);
    }
    progress(&format!("fetching Kafka {KAFKA_VERSION} through Maven, once (about 44 MB)"));
    // Filled aside and renamed: an interrupted download never looks complete.
    let download = DOWNLOADS.fetch_add(1, Ordering::Relaxed);
    let partial = cache_dir.join(format!("kafka-{KAFKA_VERSION}.{}-{download}", std::process::id()));
    std::fs::create_dir_all(&partial).map_err(KafkaDevError::file("create", &partial))?;
    let pom = partial.join("pom.xml");
    std::fs::write(&pom, POM).map_err(KafkaDevError::file("write", &pom))?;
    copy_dependencies(&pom, &partial, progress).await?;
    match std::fs::rename(&partial, &jars.folder) {
        Ok(()) => Ok(jars),
        // Another process was faster.
        Err(_) if jars.complete() => {
            std::fs::remove_dir_all(&partial).map_err(KafkaDevError::file("remove", &partial))?;
            Ok(jars)
        }
        Err(source) => Err(KafkaDevError::File { doing: "rename", path: partial, source }),
    }
}

async fn copy_dependencies(pom: &Path, into: &Path, mut progress: impl FnMut(&str)) -> Result<(), KafkaDevError> {
    let mut output_directory = OsString::from("-DoutputDirectory=");
    output_directory.push(into);
    let maven = Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(pom)
        .arg("dependency:copy-dependencies")
        .arg(output_directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::pin!(maven);
    let mut waited = Duration::ZERO;
    let output = loop {
        match tokio::time::timeout(PROGRESS_EVERY, &mut maven).await {
            Ok(output) => break output,
            Err(_) => {
                waited += PROGRESS_EVERY;
                progress(&format!("still fetching Kafka ({} s)", waited.as_secs()));
            }
        }
    };
    let output = output.map_err(|source| KafkaDevError::ToolMissing { program: "mvn".into(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(KafkaDevError::Maven { version: KAFKA_VERSION, tail: tail_of(&text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_asks_for_the_version_we_look_for() {
        assert!(POM.contains(&format!("<version>{KAFKA_VERSION}</version>")));
    }

    #[tokio::test]
    async fn jars_that_are_there_are_not_fetched_again() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join(format!("kafka-{KAFKA_VERSION}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(format!("kafka-clients-{KAFKA_VERSION}.jar")), "").unwrap();
        let jars = prepare(cache.path(), |line| panic!("nothing to tell, but: {line}")).await.unwrap();
        assert!(jars.class_path().to_string_lossy().ends_with("/*"));
    }
}
