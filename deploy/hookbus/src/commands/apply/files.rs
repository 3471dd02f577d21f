//! Which files are read, and in which order.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::all_wrong;
use super::yaml::{Document, Wrong};

/// Larger files are a mistake.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;
/// Folders in folders; deeper is a loop of links.
const FOLDER_DEPTH: usize = 32;
/// What is read of a folder. JSON files beside are schemas and the like; one that is named itself is read.
const EXTENSIONS: [&str; 2] = ["yaml", "yml"];

/// The documents of files and folders, by name inside each folder.
///
/// # Errors
/// A file cannot be read or is no YAML: all that is wrong with all of them.
pub(crate) fn documents(paths: &[PathBuf]) -> Result<Vec<Document>> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, 0, &mut files)?;
    }
    let (mut documents, mut wrong) = (Vec::new(), Vec::new());
    for file in &files {
        let name = file.display().to_string();
        match Document::read(&name, &text(file)?) {
            Ok(read) => documents.extend(read),
            Err(read) => wrong.extend(read),
        }
    }
    if documents.is_empty() && wrong.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        wrong.push(Wrong::of_file(&names.join(", "), "no document: of a folder, .yaml and .yml files are read"));
    }
    if wrong.is_empty() { Ok(documents) } else { Err(all_wrong(wrong)) }
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    if depth > FOLDER_DEPTH {
        return Err(crate::usage(format!("{}: folders are nested too deeply", path.display())));
    }
    let read = || format!("cannot read {}", path.display());
    let entries = fs::read_dir(path).with_context(read)?;
    let mut entries =
        entries.map(|entry| entry.map(|it| it.path())).collect::<Result<Vec<_>, _>>().with_context(read)?;
    entries.sort();
    for entry in entries {
        // An editor's or a version control's own files are nobody's documents.
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension = entry.extension().and_then(|it| it.to_str()).unwrap_or_default().to_ascii_lowercase();
        if !hidden && (entry.is_dir() || EXTENSIONS.contains(&extension.as_str())) {
            collect(&entry, depth + 1, files)?;
        }
    }
    Ok(())
}

fn text(file: &Path) -> Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_LIMIT + 1).read_to_string(&mut text)
    } else {
        fs::File::open(file).and_then(|it| it.take(FILE_LIMIT + 1).read_to_string(&mut text))
    };
    read.map_err(|error| crate::usage(format!("{}: cannot be read: {error}", file.display())))?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(crate::usage(format!("{}: is larger than {FILE_LIMIT} bytes", file.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_at_any_depth_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("b.yml", "n: 2");
        write("a/deep/er/x.yaml", "n: 0\n---\nn: 1");
        write("c.json", "{\"n\": 3}");
        write("c.yaml", "n: 3");
        write(".hidden.yaml", "n: 9");
        write(".git/x.yaml", "n: 9");
        write("README.md", "not: yaml: at all");
        let documents = documents(&[folder.path().to_owned()]).unwrap();
        let numbers: Vec<i64> = documents.iter().map(|it| it.fields["n"].as_i64().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        let named = super::documents(&[folder.path().join("c.json")]).unwrap();
        assert_eq!(named[0].fields["n"], 3);
    }

    #[test]
    fn what_is_not_there_or_empty_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let empty = documents(&[folder.path().to_owned()]).unwrap_err();
        assert!(empty.to_string().contains("no document"), "{empty}");
        let absent = documents(&[folder.path().join("no.yaml")]).unwrap_err();
        assert!(absent.to_string().contains("no.yaml: cannot be read"), "{absent}");
        assert!(absent.is::<crate::Usage>());
    }
}
