//! The flags that set configuration keys, out of the key table.

use clap::{Arg, ArgMatches, Args, FromArgMatches};

use crate::config::{Given, KEYS, Key, Kind};

/// The setting flags of one command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingFlags(pub Vec<Given>);

fn flagged() -> impl Iterator<Item = (&'static Key, &'static str)> {
    KEYS.iter().filter_map(|key| key.flag.map(|flag| (key, flag)))
}

impl Args for SettingFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        flagged().fold(command, |command, (key, flag)| {
            let arg = Arg::new(key.name).long(flag).value_name(placeholder(key.kind));
            let help = format!("Setting {}: {}", key.name, key.doc.split(". ").next().unwrap_or(key.doc));
            let arg = arg.help(help).help_heading("Settings");
            // `--gossip` alone says what it seems to say.
            let arg = if key.kind == Kind::Truth { arg.num_args(0..=1).default_missing_value("true") } else { arg };
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        SettingFlags::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |(key, _): (&'static Key, _)| {
            matches.get_one::<String>(key.name).map(|value| Given { key: key.name, value: value.clone() })
        };
        Ok(SettingFlags(flagged().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SettingFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

fn placeholder(kind: Kind) -> &'static str {
    match kind {
        Kind::Name => "NAME",
        Kind::Address => "IP:PORT",
        Kind::Url => "URL",
        Kind::Truth => "BOOL",
        Kind::Count { .. } => "NUMBER",
        Kind::Size { .. } | Kind::Limit { .. } => "SIZE",
        Kind::Time { .. } => "TIME",
        Kind::Choice(_) => "WORD",
        Kind::Filter => "FILTER",
        Kind::File => "FILE",
        Kind::Listen | Kind::Dial => "MULTIADDR,…",
        Kind::Rates => "SIZE,…",
        Kind::Zone => "ZONE",
        Kind::Share { .. } => "SIZE|%",
        Kind::Age { .. } => "TIME",
        Kind::Nodes => "NODE,…",
    }
}
