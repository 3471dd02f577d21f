//! `hookbus keys`: makes what an installation has secret, each in a file of its own, as `..._FILE` variables and Kubernetes Secrets take
//! it. What is there stays: with another lookup key every token would be unknown.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::operate::KeysArgs;
use crate::screen;

/// The files, with the keys of the configuration that they are for.
const FILES: [(&str, &str); 3] = [
    ("encryption-keys", "HOOKBUS__SECURITY__ENCRYPTION_KEYS_FILE"),
    ("lookup-key", "HOOKBUS__SECURITY__LOOKUP_KEY_FILE"),
    ("admin-key", "HOOKBUS__CONTROL__ADMIN_KEY_FILE"),
];

/// Makes the files that are missing.
///
/// # Errors
/// The folder cannot be written, or the system has no random numbers.
pub(crate) fn run(args: &KeysArgs) -> Result<()> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mode = if args.readable_by_all { 0o444 } else { 0o400 };
    for (name, variable) in FILES {
        let path = folder.join(name);
        let made = make(&path, &secret(name)?, mode).with_context(|| format!("cannot write {}", path.display()))?;
        let what = if made { "made" } else { "was there, and stays" };
        screen::line(&format!("{what}: {} ({variable})", path.display()))?;
    }
    Ok(())
}

fn secret(name: &str) -> Result<String> {
    Ok(match name {
        "encryption-keys" => format!("k1:{}", vault::generate_key()?.as_str()),
        "lookup-key" => vault::generate_key()?.to_string(),
        // It stands in headers and in shells.
        _admin_key => format!("{}{}", vault::random_uuid()?.simple(), vault::random_uuid()?.simple()),
    })
}

/// Whether it was made. It is there whole or not at all, so that a start that is cut off leaves no empty key.
fn make(path: &Path, secret: &str, mode: u32) -> std::io::Result<bool> {
    if path.try_exists()? {
        return Ok(false);
    }
    let part = path.with_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&part)?;
    writeln!(file, "{secret}")?;
    // Whatever the umask says.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    // A rename would take the place of one that somebody else has just made.
    let linked = fs::hard_link(&part, path);
    fs::remove_file(&part)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        linked => linked.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let args = KeysArgs { folder: folder.path().join("new"), readable_by_all: false };
        run(&args).unwrap();
        let read = || FILES.map(|(name, _)| fs::read_to_string(args.folder.join(name)).unwrap());
        let made = read();
        assert!(vault::parse_keys(made[0].trim_end()).is_ok() && vault::parse_lookup_key(made[1].trim_end()).is_ok());
        assert!(made[2].len() > 32 && made[1] != made[2]);
        let mode = |name: &str| fs::metadata(args.folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("lookup-key"), 0o400);
        fs::remove_file(args.folder.join("admin-key")).unwrap();
        // What a start that was cut off left behind is in nobody's way.
        fs::write(args.folder.join("admin-key.part"), "half").unwrap();
        run(&KeysArgs { readable_by_all: true, ..args.clone() }).unwrap();
        let again = read();
        assert_eq!(made[..2], again[..2]);
        assert!(made[2] != again[2] && mode("admin-key") == 0o444);
        assert_eq!(fs::read_dir(&args.folder).unwrap().count(), FILES.len());
    }
}
