//! Which paths of a repository a query has to look at.
//!
//! Rows are kept in the order of their paths, so that a folder, or names that begin alike, are read without the rest. What
//! is found here may be too much, never too little: each row is asked all the same.

use super::criteria::{Comparison, Criterion, Field, Operand, Operator, Row, Value};
use super::matching::literal_start;

/// Pieces that a query is cut into at most; what would need more looks at everything.
const SPANS_MAX: usize = 256;

/// No path is longer.
const PATH_BYTES_MAX: usize = 1024;

/// Paths that begin alike, down to some level.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// What they begin with.
    pub prefix: String,
    /// The most segments; what is deeper is skipped without being read.
    pub levels: Option<u64>,
}

/// All that a query has to look at in one repository: no path twice, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach(pub Vec<Span>);

/// What one alternative of a query says of folder, name and depth.
#[derive(Clone, Debug)]
struct Bound {
    folder: Known,
    name: Known,
    levels: Option<u64>,
}

#[derive(Clone, Debug)]
enum Known {
    /// It begins so; with nothing: anything.
    Starts(String),
    Is(String),
}

impl Known {
    fn anything() -> Known {
        Known::Starts(String::new())
    }

    /// `None` when nothing is both.
    fn and(&self, other: &Known) -> Option<Known> {
        match (self, other) {
            (Known::Is(text), Known::Is(other)) => (text == other).then(|| self.clone()),
            (Known::Is(text), Known::Starts(start)) | (Known::Starts(start), Known::Is(text)) => {
                text.starts_with(start.as_str()).then(|| Known::Is(text.clone()))
            }
            (Known::Starts(start), Known::Starts(other)) => {
                let (long, short) = if start.len() >= other.len() { (start, other) } else { (other, start) };
                long.starts_with(short.as_str()).then(|| Known::Starts(long.clone()))
            }
        }
    }

    fn text(&self) -> &str {
        let (Known::Starts(text) | Known::Is(text)) = self;
        text
    }

    fn of(comparison: &Comparison) -> Option<Known> {
        let Operand::Text(text) = &comparison.operand else { return None };
        match comparison.operator {
            Operator::Equal => Some(Known::Is(text.clone())),
            Operator::Matches => Some(Known::Starts(literal_start(text).to_owned())),
            _ => None,
        }
    }
}

impl Bound {
    fn everything() -> Bound {
        Bound { folder: Known::anything(), name: Known::anything(), levels: None }
    }

    fn and(&self, other: &Bound) -> Option<Bound> {
        let levels = match (self.levels, other.levels) {
            (Some(levels), Some(others)) => Some(levels.min(others)),
            (levels, others) => levels.or(others),
        };
        Some(Bound { folder: self.folder.and(&other.folder)?, name: self.name.and(&other.name)?, levels })
    }

    fn span(&self) -> Span {
        let least = |levels: u64| Some(self.levels.map_or(levels, |others| others.min(levels)));
        match &self.folder {
            Known::Is(folder) if folder == "." => Span { prefix: self.name.text().to_owned(), levels: least(1) },
            Known::Is(folder) => {
                let levels = 2 + folder.bytes().filter(|byte| *byte == b'/').count() as u64;
                Span { prefix: format!("{folder}/{}", self.name.text()), levels: least(levels) }
            }
            // The root is called so, and nothing in it begins so.
            Known::Starts(start) if start == "." => Span { prefix: String::new(), levels: self.levels },
            Known::Starts(start) => Span { prefix: start.clone(), levels: self.levels },
        }
    }
}

impl Reach {
    /// Of the criteria in the repository of this name.
    pub fn of(criteria: &Criterion, repo: &str) -> Reach {
        let mut spans: Vec<Span> = bounds(criteria, repo).iter().map(Bound::span).collect();
        spans.sort();
        let mut apart: Vec<Span> = Vec::new();
        for span in spans {
            match apart.last_mut() {
                Some(last) if span.prefix.starts_with(&last.prefix) => {
                    last.levels = last.levels.zip(span.levels).map(|(levels, others)| levels.max(others));
                }
                _ => apart.push(span),
            }
        }
        Reach(apart)
    }
}

/// Whatever meets the criteria is within one of these.
fn bounds(criteria: &Criterion, repo: &str) -> Vec<Bound> {
    match criteria {
        Criterion::All(parts) => parts.iter().fold(vec![Bound::everything()], |so_far, part| {
            let more = bounds(part, repo);
            if so_far.len() * more.len() > SPANS_MAX {
                return so_far;
            }
            so_far.iter().flat_map(|bound| more.iter().filter_map(|other| bound.and(other))).collect()
        }),
        Criterion::Any(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(bounds(part, repo));
                if all.len() > SPANS_MAX {
                    return vec![Bound::everything()];
                }
            }
            all
        }
        Criterion::Field(Field::Repo, comparison) => {
            let holds = comparison.holds(&Value::Text(repo.to_ascii_lowercase().into()));
            if holds { vec![Bound::everything()] } else { Vec::new() }
        }
        Criterion::Field(Field::Path, comparison) => {
            known(comparison, |folder| Bound { folder, ..Bound::everything() })
        }
        Criterion::Field(Field::Name, comparison) => known(comparison, |name| Bound { name, ..Bound::everything() }),
        Criterion::Field(Field::Depth, Comparison { operator, operand: Operand::Number(levels) }) => {
            let levels = match operator {
                Operator::Equal | Operator::LessOrEqual => Some(*levels),
                Operator::Less => Some(levels.saturating_sub(1)),
                _ => None,
            };
            vec![Bound { levels, ..Bound::everything() }]
        }
        _ => vec![Bound::everything()],
    }
}

fn known(comparison: &Comparison, bound: impl FnOnce(Known) -> Bound) -> Vec<Bound> {
    match Known::of(comparison) {
        // No path is as long, and copies of it would be many.
        Some(known) if known.text().len() > PATH_BYTES_MAX => Vec::new(),
        Some(known) => vec![bound(known)],
        None => vec![Bound::everything()],
    }
}

impl Span {
    /// Whether a row may be in it.
    pub fn covers(&self, row: &Row<'_>) -> bool {
        let path = if row.path == "." { row.name.to_owned() } else { format!("{}/{}", row.path, row.name) };
        // A folder's rows are those inside of it.
        let begins = path.starts_with(&self.prefix) || (row.is_folder && format!("{path}/").starts_with(&self.prefix));
        begins && self.levels.is_none_or(|levels| row.depth() <= levels)
    }
}
