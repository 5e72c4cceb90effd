//! The key files of a node, and how a secret reaches the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use artimesh_core::model::{KeyPair, parse_hex};

/// The private keys of a node, one per use, in `keys/` of its data folder.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs the segments of its log. The node's id is the hash of the first one's public half.
    pub log: KeyPair,
    /// Authenticates its connections.
    pub transport: KeyPair,
    /// Signs its pairing tokens.
    pub pairing: KeyPair,
}

/// A file that holds a secret can't be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It isn't there.
    #[error("{} is missing: restore it from a backup", .path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// Others could read it.
    #[error("{path} has mode {mode:03o}: others can read it; run `chmod 600 {path}`, and replace the key if they may have", path = .path.display())]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It doesn't hold what it should.
    #[error("{} doesn't hold a key of 64 hexadecimal digits: restore it from a backup", .path.display())]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Keys {
    /// The names of the files in a data folder.
    pub const FILES: [&'static str; 3] = ["keys/log.key", "keys/transport.key", "keys/pairing.key"];

    /// New keys out of the system's randomness.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate() -> io::Result<Keys> {
        Ok(Keys { log: random_pair()?, transport: random_pair()?, pairing: random_pair()? })
    }

    /// Writes the files below `folder`, durably, with mode 0600. `keys/` must exist.
    ///
    /// # Errors
    /// One exists already, or the system refuses; files before it were written.
    pub fn write(&self, folder: &Path) -> Result<(), KeyFileError> {
        for (name, pair) in Keys::FILES.iter().zip([&self.log, &self.transport, &self.pairing]) {
            write_pair(&folder.join(name), pair)?;
        }
        Ok(())
    }

    /// Reads the files below `folder`, after checking that nobody else can.
    ///
    /// # Errors
    /// The first file that is missing, readable by others, or not a key.
    pub fn load(folder: &Path) -> Result<Keys, KeyFileError> {
        let [log, transport, pairing] = Keys::FILES.map(|name| read_pair(&folder.join(name)));
        Ok(Keys { log: log?, transport: transport?, pairing: pairing? })
    }
}

/// A key pair out of the system's randomness.
pub(crate) fn random_pair() -> io::Result<KeyPair> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(KeyPair::from_secret(&secret))
}

/// Writes a key pair's secret as a key file.
///
/// # Errors
/// As [`write_new`].
pub(crate) fn write_pair(path: &Path, pair: &KeyPair) -> Result<(), KeyFileError> {
    let text = format!("{}\n", data_encoding::HEXLOWER.encode(&pair.secret()));
    write_new(path, text.as_bytes(), 0o600).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

fn read_pair(path: &Path) -> Result<KeyPair, KeyFileError> {
    let text = read_secret(path)?;
    let secret = parse_hex(&text).map_err(|_| KeyFileError::NotAKey { path: path.to_owned() })?;
    Ok(KeyPair::from_secret(&secret))
}

/// Reads a file of one secret line (a key, a token; at most 64 KiB) that only its owner may read, without the white
/// space round it.
///
/// # Errors
/// It is missing, others may read it, it isn't text, or it is too long.
pub fn read_secret(path: &Path) -> Result<String, KeyFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { path: path.to_owned() },
        _ => KeyFileError::Io { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    // Not a plain file: a pipe that a secret manager opened for us has no mode that means anything.
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(64 << 10).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim().to_owned())
}

/// Creates the file at `path` durably: a temporary file beside it, fsync, rename, fsync of the folder.
///
/// # Errors
/// It exists already ([`io::ErrorKind::AlreadyExists`]), or the system refuses. Then nothing stands at `path` that
/// wasn't there.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is such a file already"));
    }
    replace(path, bytes, mode)
}

/// The same in place of what is there.
///
/// # Errors
/// The system refuses. Then what stood at `path` still does.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        // A file left by an earlier attempt keeps its mode unless it is set.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // The first error is the one to tell; a temporary file that stays behind does no harm.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with_keys() -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        let keys = Keys::generate().unwrap();
        keys.write(folder.path()).unwrap();
        (folder, keys)
    }

    #[test]
    fn keys_come_back_as_they_were_written_and_only_their_owner_reads_them() {
        let (folder, keys) = folder_with_keys();
        let loaded = Keys::load(folder.path()).unwrap();
        assert_eq!(loaded.log.public(), keys.log.public());
        assert_eq!(loaded.transport.public(), keys.transport.public());
        assert_eq!(loaded.pairing.public(), keys.pairing.public());
        assert_ne!(keys.log.public(), keys.transport.public());
        for name in Keys::FILES {
            let mode = folder.path().join(name).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path().join("keys")).unwrap().count(), 3, "no temporary file stays");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_repairs_it() {
        let (folder, _) = folder_with_keys();
        let path = folder.path().join("keys/log.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Keys::load(folder.path()).unwrap_err();
        assert!(matches!(&error, KeyFileError::Mode { mode: 0o640, .. }));
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())));
    }

    #[test]
    fn a_missing_or_damaged_key_is_named() {
        let (folder, _) = folder_with_keys();
        let path = folder.path().join("keys/pairing.key");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Keys::load(folder.path()), Err(KeyFileError::Missing { path: named }) if named == path));
        write_new(&path, b"abc\n", 0o600).unwrap();
        assert!(matches!(Keys::load(folder.path()), Err(KeyFileError::NotAKey { path: named }) if named == path));
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let (folder, keys) = folder_with_keys();
        let again = Keys::generate().unwrap().write(folder.path());
        assert!(matches!(again, Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists));
        assert_eq!(Keys::load(folder.path()).unwrap().log.public(), keys.log.public());
    }
}
