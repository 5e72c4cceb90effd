//! What must hold of a file or folder.

use artimesh_core::clock::Timestamp;
use artimesh_core::model::{Checksums, Properties};

use super::matching::matches_pattern;
use crate::store::has_md5;

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Criterion {
    /// All hold; none is true.
    All(Vec<Criterion>),
    /// One holds; none is false.
    Any(Vec<Criterion>),
    /// One property meets all of these, which are about properties.
    SameProperty(Vec<Criterion>),
    /// A field of the item.
    Field(Field, Comparison),
    /// A value of the property of this name; of any where it is `None`.
    Property(Option<String>, Comparison),
}

/// What an item is asked for, or told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is what its name in the language says")]
pub enum Field {
    Repo,
    Path,
    Name,
    Type,
    Size,
    Depth,
    Created,
    CreatedBy,
    Modified,
    ModifiedBy,
    Updated,
    ActualSha1,
    ActualMd5,
    OriginalSha1,
    OriginalMd5,
    Sha256,
    PropertyKey,
    PropertyValue,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what its name in the language says")]
pub enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Matches,
    MatchesNot,
}

/// What with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Compared byte by byte, or a pattern.
    Text(String),
    /// Bytes, levels, or milliseconds since 1970.
    Number(u64),
}

/// An operator and what is on its right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// How.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
}

/// A file or folder, as it is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub repo: &'a str,
    /// The folder; `.` for the root.
    pub path: &'a str,
    pub name: &'a str,
    pub is_folder: bool,
    pub size: u64,
    pub created: Timestamp,
    pub created_by: &'a str,
    pub modified: Timestamp,
    pub modified_by: &'a str,
    /// Of files.
    pub sums: Option<&'a Checksums>,
    /// Of files: their author's word.
    pub claimed: Option<&'a Checksums>,
    pub properties: Option<&'a Properties>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// A text.
    Text(std::borrow::Cow<'a, str>),
}

impl Field {
    /// All, with their names.
    pub const NAMES: [(Field, &'static str); 18] = [
        (Field::Repo, "repo"),
        (Field::Path, "path"),
        (Field::Name, "name"),
        (Field::Type, "type"),
        (Field::Size, "size"),
        (Field::Depth, "depth"),
        (Field::Created, "created"),
        (Field::CreatedBy, "created_by"),
        (Field::Modified, "modified"),
        (Field::ModifiedBy, "modified_by"),
        (Field::Updated, "updated"),
        (Field::ActualSha1, "actual_sha1"),
        (Field::ActualMd5, "actual_md5"),
        (Field::OriginalSha1, "original_sha1"),
        (Field::OriginalMd5, "original_md5"),
        (Field::Sha256, "sha256"),
        (Field::PropertyKey, "property.key"),
        (Field::PropertyValue, "property.value"),
    ];

    /// Its name in the language.
    pub fn name(self) -> &'static str {
        Field::NAMES.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }

    /// The field of this name.
    pub fn named(name: &str) -> Option<Field> {
        Field::NAMES.iter().find(|(_, known)| *known == name).map(|(field, _)| *field)
    }

    /// Whether it is a point in time.
    pub fn is_time(self) -> bool {
        matches!(self, Field::Created | Field::Modified | Field::Updated)
    }

    /// Whether it is a number, and no point in time.
    pub fn is_number(self) -> bool {
        matches!(self, Field::Size | Field::Depth)
    }

    /// Whether it is of properties, of which an item has many.
    pub fn is_of_properties(self) -> bool {
        matches!(self, Field::PropertyKey | Field::PropertyValue)
    }
}

impl Row<'_> {
    /// How many segments folder and name have.
    pub fn depth(&self) -> u64 {
        if self.path == "." { 1 } else { 2 + self.path.bytes().filter(|byte| *byte == b'/').count() as u64 }
    }

    /// What a field of it is; `None` where it has none.
    pub fn value(&self, field: Field) -> Option<Value<'_>> {
        let text = |text: &'_ str| Some(Value::Text(text.to_owned().into()));
        Some(match field {
            Field::Repo => Value::Text(self.repo.into()),
            Field::Path => Value::Text(self.path.into()),
            Field::Name => Value::Text(self.name.into()),
            Field::Type => Value::Text(if self.is_folder { "folder" } else { "file" }.into()),
            Field::Size => Value::Number(self.size),
            Field::Depth => Value::Number(self.depth()),
            Field::Created => Value::Number(self.created.0),
            Field::CreatedBy => Value::Text(self.created_by.into()),
            Field::Modified | Field::Updated => Value::Number(self.modified.0),
            Field::ModifiedBy => Value::Text(self.modified_by.into()),
            Field::ActualSha1 => return text(&self.sums?.sha1_hex()),
            Field::ActualMd5 => return text(&self.sums.filter(|sums| has_md5(sums))?.md5_hex()),
            Field::OriginalSha1 => return text(&self.claimed?.sha1_hex()),
            Field::OriginalMd5 => return text(&self.claimed.filter(|sums| has_md5(sums))?.md5_hex()),
            Field::Sha256 => return text(&self.sums?.sha256_hex()),
            Field::PropertyKey | Field::PropertyValue => return None,
        })
    }

    fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let map = self.properties.into_iter().flat_map(|properties| properties.as_map());
        map.flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str())))
    }
}

impl Criterion {
    /// A field that is a text.
    pub fn field(field: Field, operator: Operator, text: &str) -> Criterion {
        // Keys of repositories are the same whatever their case.
        let text = if field == Field::Repo { text.to_ascii_lowercase() } else { text.to_owned() };
        Criterion::Field(field, Comparison { operator, operand: Operand::Text(text) })
    }

    /// A property that has this value; any where it is an asterisk.
    pub fn property(name: &str, value: &str) -> Criterion {
        Criterion::Property(Some(name.into()), Comparison::equal(value))
    }

    /// Whether it holds.
    pub fn holds(&self, row: &Row<'_>) -> bool {
        match self {
            Criterion::All(parts) => parts.iter().all(|part| part.holds(row)),
            Criterion::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Criterion::SameProperty(parts) => {
                row.properties().any(|(name, value)| parts.iter().all(|part| part.holds_of(name, value)))
            }
            Criterion::Field(field, comparison) if field.is_of_properties() => comparison.holds_of_many(
                row.properties().map(|(name, value)| if *field == Field::PropertyKey { name } else { value }),
            ),
            Criterion::Field(Field::Type, comparison) if comparison.operand == Operand::Text("any".into()) => {
                comparison.operator == Operator::Equal
            }
            Criterion::Field(Field::Repo, comparison) => comparison.holds_of_text(&row.repo.to_ascii_lowercase()),
            Criterion::Field(field, comparison) => match row.value(*field) {
                Some(value) => comparison.holds(&value),
                None => comparison.is_negative(),
            },
            Criterion::Property(wanted, comparison) => {
                let named = row.properties().filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == name));
                comparison.holds_of_many(named.map(|(_, value)| value))
            }
        }
    }

    /// Whether it holds of one property.
    fn holds_of(&self, name: &str, value: &str) -> bool {
        match self {
            Criterion::All(parts) => parts.iter().all(|part| part.holds_of(name, value)),
            Criterion::Any(parts) => parts.iter().any(|part| part.holds_of(name, value)),
            Criterion::SameProperty(parts) => parts.iter().all(|part| part.holds_of(name, value)),
            Criterion::Field(Field::PropertyKey, comparison) => comparison.holds_of_text(name),
            Criterion::Field(Field::PropertyValue, comparison) => comparison.holds_of_text(value),
            Criterion::Field(..) => false,
            Criterion::Property(wanted, comparison) => {
                wanted.as_ref().is_none_or(|wanted| wanted == name) && comparison.holds_of_many([value].into_iter())
            }
        }
    }

    /// Whether anything is asked about the type.
    pub fn asks_for_type(&self) -> bool {
        match self {
            Criterion::All(parts) | Criterion::Any(parts) | Criterion::SameProperty(parts) => {
                parts.iter().any(Criterion::asks_for_type)
            }
            Criterion::Field(field, _) => *field == Field::Type,
            Criterion::Property(..) => false,
        }
    }
}

impl Comparison {
    /// A text that is equal.
    pub fn equal(text: &str) -> Comparison {
        Comparison { operator: Operator::Equal, operand: Operand::Text(text.into()) }
    }

    fn is_negative(&self) -> bool {
        matches!(self.operator, Operator::NotEqual | Operator::MatchesNot)
    }

    fn holds_of_text(&self, text: &str) -> bool {
        self.holds(&Value::Text(text.into()))
    }

    /// Of something that has many values: one does, or for a negation none is what is denied.
    fn holds_of_many<'a>(&self, mut values: impl Iterator<Item = &'a str>) -> bool {
        if self.is_negative() {
            return values.all(|value| self.holds_of_text(value));
        }
        let is_anything = self.operator == Operator::Equal && self.operand == Operand::Text("*".into());
        values.any(|value| is_anything || self.holds_of_text(value))
    }

    /// Whether it holds of a value.
    pub(super) fn holds(&self, value: &Value<'_>) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = match (value, &self.operand) {
            (Value::Number(value), Operand::Number(other)) => value.cmp(other),
            (Value::Text(text), Operand::Text(pattern)) => match self.operator {
                Operator::Matches => return matches_pattern(text, pattern),
                Operator::MatchesNot => return !matches_pattern(text, pattern),
                _ => text.as_ref().cmp(pattern.as_str()),
            },
            // The parser lets a field be compared with its own kind only.
            _ => return self.is_negative(),
        };
        match self.operator {
            Operator::Equal | Operator::Matches => order == Equal,
            Operator::NotEqual | Operator::MatchesNot => order != Equal,
            Operator::Greater => order == Greater,
            Operator::GreaterOrEqual => order != Less,
            Operator::Less => order == Less,
            Operator::LessOrEqual => order != Greater,
        }
    }
}
