//! The part of the Artifactory Query Language that asks for files and folders.
//!
//! ```text
//! query      = "items.find" "(" [ criteria { "," criteria } ] ")" { "." call }
//! call       = "include" "(" name { "," name } ")"
//!            | "sort" "(" "{" ( "$asc" | "$desc" ) ":" ( name | "[" name { "," name } "]" ) "}" ")"
//!            | "offset" "(" number ")" | "limit" "(" number ")" | "distinct" "(" bool ")" | "transitive" "(" ")"
//! criteria   = "{" [ criterion { "," criterion } ] "}"                  all of them hold
//! criterion  = ( "$and" | "$or" | "$msp" ) ":" "[" criteria { "," criteria } "]"
//!            | name ":" ( value | "{" operator ":" value { "," operator ":" value } "}" )
//! operator   = "$eq" | "$ne" | "$gt" | "$gte" | "$lt" | "$lte" | "$match" | "$nmatch" | "$before" | "$last"
//! value      = string | number                                          a JSON string, or digits
//! name       = string: repo path name type size depth created modified updated created_by modified_by sha256
//!              actual_sha1 actual_md5 original_sha1 original_md5 property.key property.value @PROPERTY @*
//! ```
//!
//! - `path` is the folder (`.` for the root), `name` the last segment; `depth` counts the segments of both.
//! - Where `type` isn't asked about, only files are found; `any` stands for files and folders.
//! - `*` and `?` are wildcards in `$match` and `$nmatch`, also across slashes. `{"@P": "*"}` finds what has the property.
//! - `{"@P": {"$ne": v}}` and `$nmatch` find what has *no* such value, also what hasn't the property. `$msp` holds where one
//!   and the same property meets all of its criteria.
//! - Times are ISO 8601 or milliseconds; `$before` and `$last` take an age: `2d`, `3weeks`, `5minutes`.
//! - Without `sort` the order is that of repositories and paths. A sorted result is held in memory, so it is bounded.
//!
//! Clients also write `item.NAME` and `property.@PROPERTY`, `include` what is always empty here (`stat`, `virtual_repos`), and
//! end with a semicolon. Whatever else isn't in here is refused with the column where it stands.

mod criteria;
mod matching;
mod parse;
mod reach;
#[cfg(test)]
mod tests;

pub use criteria::{Comparison, Criterion, Field, Operand, Operator, Row, Value};
pub use matching::matches_pattern;
pub use reach::{Reach, Span};

use artimesh_core::clock::Timestamp;

/// The longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 256 << 10;

/// A query that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What must hold.
    pub criteria: Criterion,
    /// What is told of each hit.
    pub include: Include,
    /// The order of the hits.
    pub sort: Option<Sort>,
    /// So many hits are left out.
    pub offset: u64,
    /// At most so many are told.
    pub limit: Option<u64>,
}

/// What is told of each hit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Include {
    /// Fields of the item itself; empty for the usual ones.
    pub fields: Vec<Field>,
    /// All fields of the item.
    pub all: bool,
    /// Properties: all, or those of these names.
    pub properties: Option<Vec<String>>,
    /// Statistics of downloads.
    pub statistics: bool,
}

/// In what order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The first decides, then the next.
    pub fields: Vec<Field>,
    /// Largest first.
    pub descends: bool,
}

/// Why a query isn't understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query can't be understood at column {column}: {reason}")]
pub struct BadQuery {
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

impl Query {
    /// Everything that meets the criteria, whatever its type.
    pub fn of(criteria: Criterion) -> Query {
        Query { criteria, include: Include::default(), sort: None, offset: 0, limit: None }
    }

    /// Reads a query; ages count from `now`.
    pub fn parse(text: &str, now: Timestamp) -> Result<Query, BadQuery> {
        parse::query(text, now)
    }
}
