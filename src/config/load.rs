//! Layers in, checked settings or all faults out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use super::address::tcp_target;
use super::fault::{Fault, Faults, Problem, Source, nearest};
use super::file;
use super::key::Key;
use super::parse::Raw;
use super::settings::Settings;
use super::table::{KEYS, OTHER_VARIABLES};
use super::value::Value;

/// The name of the configuration file in a data folder.
pub const FILE_NAME: &str = "artimesh.toml";

/// What a flag said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The name of a key that has a flag.
    pub key: &'static str,
    /// The flag's value.
    pub value: String,
}

/// A configuration without faults.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where each came from, in the order of [`KEYS`].
    pub origins: Vec<Origin>,
}

/// One effective value.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its key.
    pub key: &'static Key,
    /// The value.
    pub value: Value,
    /// Who set it.
    pub source: Source,
}

/// What one source says about one key, unchecked.
pub(super) struct Entry {
    pub(super) key: &'static Key,
    pub(super) raw: Raw,
    pub(super) shown: String,
    pub(super) source: Source,
}

/// Reads and checks every layer: the file (none: only the other layers), the environment and the flags.
///
/// # Errors
/// Everything that is wrong anywhere, in the order of the file's lines, then environment, then flags.
pub fn load(
    path: Option<&Path>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    flags: &[Given],
) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    let mut entries = path.map(|path| from_file(path, &mut faults)).unwrap_or_default();
    entries.extend(from_environment(variables, &mut faults));
    entries.extend(from_flags(flags));
    Layers::check(entries, faults).finish()
}

fn from_file(path: &Path, faults: &mut Vec<Fault>) -> Vec<Entry> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let (entries, found) = file::read(path, &text);
            faults.extend(found);
            entries
        }
        Err(error) => {
            let source = Source::File { path: path.to_owned(), line: None };
            faults.push(Fault { source, problem: Problem::Unreadable { message: error.to_string() } });
            Vec::new()
        }
    }
}

fn from_environment(variables: impl IntoIterator<Item = (OsString, OsString)>, faults: &mut Vec<Fault>) -> Vec<Entry> {
    let keys: Vec<(String, &'static Key)> = KEYS.iter().map(|key| (key.variable(), key)).collect();
    let mut ours: Vec<_> = variables
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with("ARTIMESH_") && !OTHER_VARIABLES.contains(&name.as_str()))
        .collect();
    ours.sort();
    let mut entries = Vec::new();
    for (name, value) in ours {
        let source = Source::Variable(name.clone());
        let Some((_, key)) = keys.iter().find(|(variable, _)| *variable == name) else {
            let known = keys.iter().map(|(variable, _)| variable.as_str()).chain(OTHER_VARIABLES.iter().copied());
            let suggestion = nearest(&name, &known.collect::<Vec<_>>());
            faults.push(Fault { source, problem: Problem::Unknown { name, suggestion } });
            continue;
        };
        match value.into_string() {
            Ok(value) => entries.push(text_entry(key, value, source)),
            Err(_) => {
                faults.push(Fault { source, problem: Problem::Unreadable { message: "its value isn't UTF-8".into() } });
            }
        }
    }
    entries
}

fn from_flags(flags: &[Given]) -> impl Iterator<Item = Entry> {
    flags.iter().filter_map(|given| {
        let key = KEYS.iter().find(|key| key.name == given.key)?;
        let source = Source::Flag(format!("--{}", key.flag.unwrap_or(key.last())));
        Some(text_entry(key, given.value.clone(), source))
    })
}

fn text_entry(key: &'static Key, value: String, source: Source) -> Entry {
    Entry { key, shown: Value::Text(value.clone()).to_string(), raw: Raw::Text(value), source }
}

/// The winning entry of every key, and what is wrong so far.
struct Layers {
    winners: BTreeMap<&'static str, (Value, Source)>,
    faulty: BTreeSet<&'static str>,
    faults: Vec<Fault>,
}

impl Layers {
    /// Checks `entries`, which come in rising precedence, over the defaults.
    fn check(entries: Vec<Entry>, faults: Vec<Fault>) -> Layers {
        let mut layers = Layers { winners: defaults(), faulty: BTreeSet::new(), faults };
        for Entry { key, raw, shown, source } in entries {
            match key.kind.check(&raw) {
                Ok(value) => {
                    layers.winners.insert(key.name, (value, source));
                }
                Err(bad) => {
                    layers.faulty.insert(key.name);
                    let value = shown.chars().take(120).collect();
                    let problem = Problem::NotAllowed { key: key.name, value, allowed: bad.allowed };
                    layers.faults.push(Fault { source, problem });
                }
            }
        }
        layers.missing();
        layers.combinations();
        layers
    }

    fn finish(self) -> Result<Loaded, Faults> {
        let Layers { mut winners, mut faults, .. } = self;
        if !faults.is_empty() {
            faults.sort_by_key(|fault| fault.source.rank());
            return Err(Faults(faults));
        }
        let origins = KEYS
            .iter()
            .map(|key| {
                let (value, source) = winners.remove(key.name).expect("the defaults name every key");
                Origin { key, value, source }
            })
            .collect::<Vec<_>>();
        let values = origins.iter().map(|origin| (origin.key.name, origin.value.clone())).collect();
        Ok(Loaded { settings: Settings::from_values(values), origins })
    }

    fn missing(&mut self) {
        // A file that couldn't be read may well have held the value.
        let unread = |fault: &Fault| matches!(fault.problem, Problem::NotToml { .. } | Problem::Unreadable { .. });
        if self.faults.iter().any(unread) {
            return;
        }
        for key in KEYS.iter().filter(|key| key.required) {
            if self.get(key.name) == Some(&Value::Absent) {
                let problem = Problem::Missing { key: key.name, allowed: key.kind.allowed() };
                self.faults.push(Fault { source: Source::Default, problem });
            }
        }
    }

    /// The value of a key, unless something was wrong with it in any layer.
    fn get(&self, key: &'static str) -> Option<&Value> {
        self.winners.get(key).map(|(value, _)| value).filter(|_| !self.faulty.contains(key))
    }

    /// Blames `key` for a combination. Where only the other key was set by somebody, that one is blamed.
    fn impossible(&mut self, key: &'static str, other: &'static str, reason: &str) {
        let is_default = |key: &str| matches!(self.winners.get(key), Some((_, Source::Default)));
        let (key, other) = if is_default(key) && !is_default(other) { (other, key) } else { (key, other) };
        let ((value, source), (other_value, other_source)) = (&self.winners[key], &self.winners[other]);
        let reason = match other_value {
            Value::Absent => format!("{reason} ({other} is not set)"),
            _ => format!("{reason} ({other} = {other_value}, {other_source})"),
        };
        let problem = Problem::Impossible { key, value: value.to_string(), reason };
        let source = source.clone();
        self.faults.push(Fault { source, problem });
    }

    fn combinations(&mut self) {
        let size = |layers: &Layers, key| match layers.get(key) {
            Some(Value::Size(bytes)) => Some(*bytes),
            _ => None,
        };
        if let Some(quota) = size(self, "store.quota") {
            let larger_than_quota = |key| size(self, key).is_some_and(|bytes| bytes >= quota);
            let [reserve, pack] = ["store.reserve", "store.pack_size"].map(larger_than_quota);
            if reserve {
                self.impossible("store.reserve", "store.quota", "the reserve has to be smaller than the quota");
            }
            if pack {
                self.impossible("store.pack_size", "store.quota", "a pack has to be smaller than the quota");
            }
        }
        let has_text = |layers: &Layers, key| matches!(layers.get(key), Some(Value::Text(_)));
        for (one, other) in [("http.tls_certificate", "http.tls_key"), ("http.tls_key", "http.tls_certificate")] {
            if has_text(self, one) && matches!(self.get(other), Some(Value::Absent)) {
                self.impossible(one, other, "HTTPS needs a certificate and its key");
            }
        }
        for (told, listened) in [("swarm.advertise", "swarm.listen"), ("swarm.advertise_bulk", "swarm.bulk_listen")] {
            let is_empty = |key| matches!(self.get(key), Some(Value::List(items)) if items.is_empty());
            let has_some = |key| matches!(self.get(key), Some(Value::List(items)) if !items.is_empty());
            if has_some(told) && is_empty(listened) {
                self.impossible(told, listened, "nothing is listened on that could be advertised");
            }
        }
        let pairs = [
            ("http.listen", "swarm.listen"),
            ("http.listen", "swarm.bulk_listen"),
            ("swarm.listen", "swarm.bulk_listen"),
        ];
        for (one, other) in pairs {
            let taken = self.sockets(one);
            if self.sockets(other).iter().any(|socket| taken.iter().any(|other| clash(socket, other))) {
                self.impossible(other, one, "both would listen on one port: give each its own");
            }
        }
    }

    fn sockets(&self, key: &'static str) -> Vec<std::net::SocketAddr> {
        match self.get(key) {
            Some(Value::Address(address)) => vec![*address],
            Some(Value::List(items)) => items
                .iter()
                .filter_map(|item| tcp_target(item))
                .filter_map(|target| Some((target.host.parse::<std::net::IpAddr>().ok()?, target.port).into()))
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn clash(one: &std::net::SocketAddr, other: &std::net::SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || everywhere)
}

fn defaults() -> BTreeMap<&'static str, (Value, Source)> {
    let value = |key: &Key| match key.default {
        None => Value::Absent,
        Some(text) => key.kind.check(&Raw::Text(text.to_owned())).expect("a test checks the table's defaults"),
    };
    KEYS.iter().map(|key| (key.name, (value(key), Source::Default))).collect()
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
