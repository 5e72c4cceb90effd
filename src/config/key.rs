//! One configuration key: what the table says about it.

use std::time::Duration;

/// One row of [`super::KEYS`].
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.name`, both in lower case with underscores.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default as text in the form that an environment variable has; `None`: no value unless one is given.
    pub default: Option<&'static str>,
    /// Whether a node can't run without a value. Only a key without a default can be required.
    pub required: bool,
    /// One paragraph for the operator.
    pub doc: &'static str,
    /// A value somebody might set, as text; shown in the commented file where there is no default.
    pub example: &'static str,
    /// The flag without its dashes, where the key is common enough to have one.
    pub flag: Option<&'static str>,
}

/// What a key's values are, with their bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A node's name.
    Name,
    /// IP address and port.
    Address,
    /// An `http://` or `https://` base address.
    Url,
    /// `true` or `false`.
    Truth,
    /// A whole number.
    Count {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A number of bytes.
    Size {
        /// The smallest, in bytes.
        min: u64,
        /// The largest, in bytes.
        max: u64,
    },
    /// A number of bytes, or `none` for no bound.
    Limit {
        /// The smallest, in bytes.
        min: u64,
    },
    /// A number of bytes, a share of what there is in per cent, or `none` for no bound.
    Share {
        /// The smallest, in bytes.
        min: u64,
    },
    /// A span of time, or `none` for no bound.
    Age {
        /// The shortest.
        min: Duration,
    },
    /// A span of time.
    Time {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Directives of a tracing filter.
    Filter,
    /// The path of a file.
    File,
    /// Multiaddrs of TCP sockets to listen on: an IP address, and port 0 for any.
    Listen,
    /// Multiaddrs that somebody can dial: no port 0, no unspecified address.
    Dial,
    /// Bytes a second, for the day and for hours of it.
    Rates,
    /// Where a place's clock stands.
    Zone,
    /// `any`, `none`, or names and ids of nodes.
    Nodes,
}

impl Key {
    /// The environment variable of this key: `ARTIMESH_HTTP_LISTEN` for `http.listen`.
    pub fn variable(&self) -> String {
        format!("ARTIMESH_{}", self.name.to_ascii_uppercase().replace('.', "_"))
    }

    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// The part after the dot.
    pub fn last(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}
