//! What a user of the command line calls nodes elsewhere: `profiles.toml`, which holds tokens and is for its owner only.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::keys::{KeyFileError, read_secret, replace};
use super::profiles_text::{parse, text};
use rustix::fs::{FlockOperation, flock};

/// The longest name of a profile, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The largest file that is written; a larger one wouldn't be read to its end.
const FILE_BYTES_MAX: usize = 60 << 10;

/// How to reach a node, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its address.
    pub url: String,
    /// The access token, if there is one. Never shown.
    pub token: Option<String>,
    /// A file of certificates to trust besides the machine's.
    pub ca_file: Option<PathBuf>,
}

/// All of a user's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profiles {
    pub(super) default: Option<String>,
    pub(super) all: BTreeMap<String, Profile>,
}

/// The profiles can't be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BadProfile {
    /// The file can't be read, or others can.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The file can't be written.
    #[error("{}: {source}", .path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It doesn't hold profiles.
    #[error("{}: {reason}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Where, and what is wrong there.
        reason: String,
    },
    /// That can be no name.
    #[error("'{0}' can't be the name of a profile: use up to 64 letters, digits, '.', '_' and '-'")]
    Name(String),
    /// There is none of this name.
    #[error("there is no profile {name}: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are, for people.
        known: String,
    },
    /// There is one of this name.
    #[error("there is a profile {0} already: replace it with --replace")]
    Taken(String),
    /// There are too many for one file.
    #[error("these are more profiles than fit into one file: remove some")]
    TooMany,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Profile")
            .field("url", &self.url)
            .field("token", &token)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

impl Profiles {
    /// Where the file is: `$XDG_CONFIG_HOME/artimesh/profiles.toml`, else below `$HOME/.config`; `None` where neither is
    /// set to an absolute path.
    pub fn place(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Option<PathBuf> {
        let (mut config, mut home) = (None, None);
        for (name, value) in variables {
            let slot = match name.to_str() {
                Some("XDG_CONFIG_HOME") => &mut config,
                Some("HOME") => &mut home,
                _ => continue,
            };
            // The specification says to ignore any other.
            *slot = Some(PathBuf::from(value)).filter(|path| path.is_absolute());
        }
        let folder = config.or_else(|| home.map(|home| home.join(".config")))?;
        Some(folder.join("artimesh/profiles.toml"))
    }

    /// Reads the file at `path`; without one there are no profiles.
    ///
    /// # Errors
    /// Others can read it, or something in it is wrong.
    pub fn load(path: &Path) -> Result<Profiles, BadProfile> {
        let text = match read_secret(path) {
            Ok(text) => text,
            Err(KeyFileError::Missing { .. }) => return Ok(Profiles::default()),
            Err(error) => return Err(error.into()),
        };
        let unreadable = |reason| BadProfile::Unreadable { path: path.to_owned(), reason };
        if text.len() > FILE_BYTES_MAX {
            return Err(BadProfile::TooMany);
        }
        parse(&text).map_err(unreadable)
    }

    /// Reads the file at `path`, changes what it holds and writes it again, so that it is whole at any time and of two who do
    /// so at once neither is forgotten. Folders that aren't there are made for the owner only.
    ///
    /// # Errors
    /// As [`Profiles::load`] and `change`, or it can't be written.
    pub fn change<T>(
        path: &Path,
        change: impl FnOnce(&mut Profiles) -> Result<T, BadProfile>,
    ) -> Result<T, BadProfile> {
        let unwritable = |source| BadProfile::Unwritable { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable)?;
        let lock = File::open(folder).map_err(unwritable)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| unwritable(error.into()))?;
        let mut profiles = Profiles::load(path)?;
        let changed = change(&mut profiles)?;
        let text = text(&profiles);
        if text.len() > FILE_BYTES_MAX {
            return Err(BadProfile::TooMany);
        }
        // Where the file is a link, what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        replace(&path, text.as_bytes(), 0o600).map_err(unwritable)?;
        Ok(changed)
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &str) -> Result<&Profile, BadProfile> {
        self.all.get(name).ok_or_else(|| self.unknown(name))
    }

    /// The profile that is used where no node is named.
    ///
    /// # Errors
    /// The file says one that isn't there.
    pub fn default_one(&self) -> Result<Option<&Profile>, BadProfile> {
        self.default.as_deref().map(|name| self.get(name)).transpose()
    }

    /// Its name.
    pub fn default_name(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.all.iter().map(|(name, profile)| (name.as_str(), profile))
    }

    /// Adds one. The first becomes the default.
    ///
    /// # Errors
    /// The name is none, or taken.
    pub fn add(&mut self, name: &str, profile: Profile) -> Result<(), BadProfile> {
        if !is_name(name) {
            return Err(BadProfile::Name(name.chars().take(80).collect()));
        }
        if self.all.contains_key(name) {
            return Err(BadProfile::Taken(name.to_owned()));
        }
        if self.all.is_empty() {
            self.default = Some(name.to_owned());
        }
        self.all.insert(name.to_owned(), profile);
        Ok(())
    }

    /// Adds one, or puts it in the place of the one that has its name.
    ///
    /// # Errors
    /// The name is none.
    pub fn put(&mut self, name: &str, profile: Profile) -> Result<(), BadProfile> {
        match self.all.get_mut(name) {
            Some(there) => *there = profile,
            None => self.add(name, profile)?,
        }
        Ok(())
    }

    /// Removes one. If it was the default, there is none any more.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn remove(&mut self, name: &str) -> Result<(), BadProfile> {
        self.get(name)?;
        self.all.remove(name);
        self.default.take_if(|default| default == name);
        Ok(())
    }

    /// Makes it the default.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn make_default(&mut self, name: &str) -> Result<(), BadProfile> {
        self.get(name)?;
        self.default = Some(name.to_owned());
        Ok(())
    }

    fn unknown(&self, name: &str) -> BadProfile {
        let names: Vec<&str> = self.all.keys().map(String::as_str).collect();
        let known = match names.is_empty() {
            true => "there are none; `artimesh profile add NAME --url URL` makes one".to_owned(),
            false => format!("known are {}", names.join(", ")),
        };
        BadProfile::Unknown { name: name.chars().take(80).collect(), known }
    }
}

/// Whether a profile can be called so.
pub(super) fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('-') && name.bytes().all(is_fine)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn profile(url: &str) -> Profile {
        Profile { url: url.into(), token: Some("amt_\"\\x".into()), ca_file: Some("/etc/ca file.pem".into()) }
    }

    #[test]
    fn what_was_written_is_read_again_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/artimesh/profiles.toml");
        assert_eq!(Profiles::load(&path).unwrap(), Profiles::default());
        for name in ["berlin", "to.k_y-o", "-x", "a b", ""] {
            let added = Profiles::change(&path, |profiles| profiles.add(name, profile("http://a")));
            assert_eq!(added.is_ok(), name.len() > 5, "{name}");
        }
        let loaded = Profiles::load(&path).unwrap();
        assert_eq!(loaded.get("to.k_y-o").unwrap(), &profile("http://a"));
        assert_eq!(loaded.default_name(), Some("berlin"));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1, "nothing else stays");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Profiles::load(&path).unwrap_err().to_string().contains("chmod 600"));
        assert!(Profiles::change(&path, |_| Ok(())).is_err());
    }

    #[test]
    fn names_are_used_once_and_the_default_goes_with_its_profile() {
        let mut profiles = Profiles::default();
        profiles.add("one", profile("http://1")).unwrap();
        profiles.add("two", profile("http://2")).unwrap();
        assert!(matches!(profiles.add("one", profile("http://3")), Err(BadProfile::Taken(_))));
        profiles.put("one", profile("http://3")).unwrap();
        assert_eq!(profiles.default_one().unwrap().unwrap().url, "http://3");
        profiles.make_default("two").unwrap();
        profiles.remove("two").unwrap();
        assert_eq!(profiles.default_name(), None);
        assert!(profiles.make_default("two").is_err());
        assert!(!format!("{profiles:?}").contains("amt"), "tokens aren't shown");
    }

    #[test]
    fn the_place_is_that_of_the_specification() {
        let place = |variables: &[(&str, &str)]| {
            Profiles::place(variables.iter().map(|(name, value)| (name.into(), value.into())))
        };
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(place(&[("HOME", "/h")]), at("/h/.config/artimesh/profiles.toml"));
        assert_eq!(place(&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")]), at("/c/artimesh/profiles.toml"));
        assert_eq!(place(&[("XDG_CONFIG_HOME", ""), ("HOME", "/h")]), at("/h/.config/artimesh/profiles.toml"));
        assert_eq!(place(&[("HOME", "h")]), None);
    }
}
