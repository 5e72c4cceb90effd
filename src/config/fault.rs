//! What can be wrong with a configuration, and how an operator reads it.

use std::fmt;
use std::path::PathBuf;

use super::table::KEYS;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1; `None`: no line in particular.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// A flag, with its dashes.
    Flag(String),
    /// The key table.
    Default,
}

impl Source {
    /// Sorts faults as an operator works through them: down the file, then the environment, then the flags.
    pub(super) fn rank(&self) -> (u8, usize) {
        match self {
            Source::File { line, .. } => (0, line.unwrap_or(0)),
            Source::Variable(_) => (1, 0),
            Source::Flag(_) => (2, 0),
            Source::Default => (3, 0),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Source::File { path, line: None } => write!(f, "{}", path.display()),
            Source::Variable(name) => write!(f, "environment variable {name}"),
            Source::Flag(name) => write!(f, "flag {name}"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub source: Source,
    /// What.
    pub problem: Problem,
}

/// What is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The key doesn't take this value.
    NotAllowed {
        /// The key.
        key: &'static str,
        /// What was given, cut to 120 characters.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// There is no such key, section or variable.
    Unknown {
        /// What was written.
        name: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// A required key has no value.
    Missing {
        /// The key.
        key: &'static str,
        /// What is allowed.
        allowed: String,
    },
    /// Values that are fine alone and can't be together.
    Impossible {
        /// The key to blame first, with its value.
        key: &'static str,
        /// Its value.
        value: String,
        /// Why not, naming the other key and its value.
        reason: String,
    },
    /// The file isn't TOML.
    NotToml {
        /// The parser's words.
        message: String,
    },
    /// The file can't be read, or a variable isn't UTF-8.
    Unreadable {
        /// The system's words.
        message: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        match &self.problem {
            Problem::NotAllowed { key, value, allowed } => {
                write!(f, "{key} = {value} ({source})\n    allowed: {allowed}")
            }
            Problem::Unknown { name, suggestion: Some(suggestion) } => {
                write!(f, "{name} is not known ({source})\n    did you mean {suggestion}?")
            }
            Problem::Unknown { name, suggestion: None } => write!(f, "{name} is not known ({source})"),
            Problem::Missing { key, allowed } => write!(f, "{key} has no value\n    needed: {allowed}"),
            Problem::Impossible { key, value, reason } => write!(f, "{key} = {value} ({source})\n    {reason}"),
            Problem::NotToml { message } => write!(f, "not TOML ({source})\n    {}", message.replace('\n', "\n    ")),
            Problem::Unreadable { message } => write!(f, "can't be read ({source})\n    {message}"),
        }
    }
}

/// Everything that is wrong with a configuration: never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} {} in the configuration:", if count == 1 { "fault" } else { "faults" })?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// The name in `known` that `name` was probably meant to be.
pub(super) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    let distances = known.iter().map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate));
    let close = distances.filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(4).max(2)).min();
    // A key in the wrong section, or in none, is far away as text but has the right last part.
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    let misplaced = || known.iter().find(|candidate| last(candidate) == last(name));
    close.map(|(_, candidate)| candidate).or_else(misplaced).map(|name| (*name).to_owned())
}

impl Problem {
    /// A key that isn't in the table.
    pub(super) fn unknown_key(name: &str) -> Problem {
        let known: Vec<_> = KEYS.iter().map(|key| key.name).collect();
        let suggestion = nearest(name, &known);
        Problem::Unknown { name: name.to_owned(), suggestion }
    }
}
