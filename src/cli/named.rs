//! Which node the options name: what was typed goes before what the environment says.

use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};

use super::command::{Cli, Global};
use super::misuse::Misuse;

/// A node, as it was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// By its address.
    Url(&'a str),
    /// By what `artimesh profile` knows.
    Profile(&'a str),
    /// By its data folder on this machine.
    Folder(&'a Path),
}

/// The options that may come from the environment.
const VARIABLES: [&str; 5] = ["url", "profile", "data", "token_file", "ca_file"];

impl Cli {
    /// Parses `arguments`, the program's name first, and remembers what came from the environment instead.
    pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let mut command = Cli::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        let is_variable = |id: &&str| matches.value_source(id) == Some(ValueSource::EnvVariable);
        cli.global.from_environment = VARIABLES.into_iter().filter(is_variable).collect();
        Ok(cli)
    }
}

impl Global {
    /// The node that is named, if one is. In the environment an address goes before a profile, and that before a folder:
    /// machines and containers that run a node have the folder there for good.
    ///
    /// # Errors
    /// Flags name two.
    pub(super) fn named(&self) -> Result<Option<Named<'_>>, Misuse> {
        let all = [
            ("url", self.url.as_deref().map(Named::Url)),
            ("profile", self.profile.as_deref().map(Named::Profile)),
            ("data", self.data.as_deref().map(Named::Folder)),
        ];
        let mut flags = all.iter().filter(|(id, _)| self.is_flag(id)).filter_map(|(_, named)| *named);
        match (flags.next(), flags.next()) {
            (Some(_), Some(_)) => Err(Misuse("--url, --profile and --data name a node each: give one of them")),
            (Some(flag), None) => Ok(Some(flag)),
            (None, _) => Ok(all.into_iter().find_map(|(_, named)| named)),
        }
    }

    /// Whether an option that was given was typed.
    pub(super) fn is_flag(&self, id: &str) -> bool {
        !self.from_environment.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(url: Option<&str>, profile: Option<&str>, data: Option<&str>, environment: &[&'static str]) -> Global {
        let [url, profile] = [url, profile].map(|text| text.map(str::to_owned));
        Global { url, profile, data: data.map(Into::into), from_environment: environment.to_vec(), ..Global::default() }
    }

    #[test]
    fn what_was_typed_goes_before_the_environment() {
        assert_eq!(global(None, None, None, &[]).named(), Ok(None));
        let two = global(Some("u"), None, Some("d"), &["url"]);
        assert_eq!(two.named(), Ok(Some(Named::Folder(Path::new("d")))));
        let three = global(Some("u"), Some("p"), Some("d"), &["url", "data"]);
        assert_eq!(three.named(), Ok(Some(Named::Profile("p"))));
    }

    #[test]
    fn two_flags_are_misuse_and_the_environment_has_an_order() {
        for (url, profile, data) in
            [(Some("u"), Some("p"), None), (Some("u"), None, Some("d")), (None, Some("p"), Some("d"))]
        {
            assert!(global(url, profile, data, &[]).named().is_err());
        }
        let all = global(Some("u"), Some("p"), Some("d"), &["url", "profile", "data"]);
        assert_eq!(all.named(), Ok(Some(Named::Url("u"))));
        let two = global(None, Some("p"), Some("d"), &["profile", "data"]);
        assert_eq!(two.named(), Ok(Some(Named::Profile("p"))));
    }

    #[test]
    fn options_are_remembered_as_typed_wherever_they_stand() {
        for words in ["artimesh --url http://a status", "artimesh status --url http://a"] {
            let cli = Cli::read(words.split(' ').map(OsString::from)).unwrap();
            assert_eq!(cli.global.url.as_deref(), Some("http://a"));
            assert!(cli.global.is_flag("url"));
        }
    }
}
