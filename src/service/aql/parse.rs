//! Text becomes a [`Query`].

use artimesh_core::clock::Timestamp;

use super::criteria::{Comparison, Criterion, Field, Operand, Operator};
use super::{BadQuery, Include, QUERY_BYTES_MAX, Query, Sort};
use crate::service::dates::parse_iso8601;

/// Criteria inside of each other.
const DEPTH_MAX: usize = 32;
/// Criteria, operators and braces in all.
const CRITERIA_MAX: usize = 10_000;
/// The most of them about any property: each looks at all values of a file, which may be thousands.
const ANY_PROPERTY_MAX: usize = 100;
/// The longest text that something is compared with, in bytes; a path has 1,024 at most, and a property 2,400.
const TEXT_BYTES_MAX: usize = 2400;
/// The longest name of a property, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Properties that are told by name.
const NAMES_MAX: usize = 128;

/// Domains of the language that this node has nothing of.
const DOMAINS: [&str; 9] =
    ["builds", "artifacts", "archive", "archives", "entries", "modules", "dependencies", "stats", "releases"];

struct Parser<'a> {
    text: &'a str,
    at: usize,
    now: Timestamp,
    criteria: usize,
    any_property: usize,
}

type Result<T> = std::result::Result<T, BadQuery>;

/// Reads a whole query.
pub fn query(text: &str, now: Timestamp) -> Result<Query> {
    let mut parser = Parser { text, at: 0, now, criteria: 0, any_property: 0 };
    if text.len() > QUERY_BYTES_MAX {
        return parser.fail(format!("a query has at most {QUERY_BYTES_MAX} bytes"));
    }
    parser.query()
}

impl<'a> Parser<'a> {
    fn query(&mut self) -> Result<Query> {
        self.domain()?;
        let mut parts = Vec::new();
        self.expect('(')?;
        while !self.takes(')') {
            if !parts.is_empty() {
                self.expect(',')?;
            }
            parts.push(self.criteria(0)?);
        }
        let mut criteria = Criterion::All(parts);
        if !criteria.asks_for_type() {
            let files = Criterion::Field(Field::Type, Comparison::equal("file"));
            criteria = Criterion::All(vec![files, criteria]);
        }
        let mut query = Query { criteria, include: Include::default(), sort: None, offset: 0, limit: None };
        while self.takes('.') {
            self.call(&mut query)?;
        }
        self.takes(';');
        self.space();
        if self.at < self.text.len() {
            return self
                .fail("the query is over here: '.include(…)', '.sort(…)', '.offset(…)' or '.limit(…)' may follow");
        }
        Ok(query)
    }

    fn domain(&mut self) -> Result<()> {
        self.space();
        let (start, domain) = (self.at, self.word());
        match domain {
            "items" | "item" => {}
            known if DOMAINS.contains(&known) => {
                return self.fail_at(start, format!("'{known}' can't be asked for here: use items.find(…)"));
            }
            _ => return self.fail_at(start, "a query begins with items.find("),
        }
        self.expect('.')?;
        let start = self.at;
        if self.word() != "find" {
            return self.fail_at(start, "'find' was expected");
        }
        Ok(())
    }

    fn call(&mut self, query: &mut Query) -> Result<()> {
        self.space();
        let start = self.at;
        let call = self.word();
        self.expect('(')?;
        match call {
            "include" => self.include(&mut query.include)?,
            "sort" => query.sort = Some(self.sort()?),
            "offset" => query.offset = self.number()?,
            "limit" => query.limit = Some(self.number()?),
            // Hits are distinct here, and there are no virtual repositories.
            "distinct" => {
                let start = self.at;
                if !matches!(self.word(), "true" | "false") {
                    return self.fail_at(start, "'true' or 'false' was expected");
                }
            }
            "transitive" => {}
            other => {
                let reason = format!("'{other}' is unknown: include, sort, offset, limit, distinct or transitive");
                return self.fail_at(start, reason);
            }
        }
        self.expect(')')
    }

    fn include(&mut self, include: &mut Include) -> Result<()> {
        loop {
            self.space();
            let start = self.at;
            let name = self.string()?;
            let names = || include_names(&name);
            match name.as_str() {
                "*" => include.all = true,
                "property" | "property.*" | "property.key" | "property.value" => {
                    include.properties = Some(Vec::new());
                }
                "stat" | "stat.*" | "stat.downloads" | "stat.downloaded" | "stat.downloaded_by" => {
                    include.statistics = true;
                }
                // They hold no virtual repositories here: the field is never told.
                "virtual_repos" => {}
                _ => match (name.strip_prefix('@'), names()) {
                    (Some(property), _) => match &mut include.properties {
                        Some(all) if all.is_empty() => {}
                        Some(some) if some.iter().any(|known| known == property) => {}
                        Some(some) if some.len() == NAMES_MAX => {
                            return self.fail_at(start, format!("at most {NAMES_MAX} properties are told by name"));
                        }
                        Some(some) => some.push(property.to_owned()),
                        none => *none = Some(vec![property.to_owned()]),
                    },
                    (None, Some(field)) if include.fields.contains(&field) => {}
                    (None, Some(field)) => include.fields.push(field),
                    (None, None) => return self.fail_at(start, unknown(&name)),
                },
            }
            if !self.takes(',') {
                return Ok(());
            }
        }
    }

    fn sort(&mut self) -> Result<Sort> {
        self.expect('{')?;
        self.space();
        let start = self.at;
        let descends = match self.string()?.as_str() {
            "$asc" => false,
            "$desc" => true,
            other => return self.fail_at(start, format!("'{other}' is no order: '$asc' or '$desc'")),
        };
        self.expect(':')?;
        let mut fields = Vec::new();
        let is_list = self.takes('[');
        loop {
            self.space();
            let start = self.at;
            let name = self.string()?;
            match include_names(&name) {
                Some(field) if fields.contains(&field) => {}
                Some(field) => fields.push(field),
                None => return self.fail_at(start, format!("results can't be sorted by '{name}'")),
            }
            if !is_list || !self.takes(',') {
                break;
            }
        }
        if is_list {
            self.expect(']')?;
        }
        self.expect('}')?;
        Ok(Sort { fields, descends })
    }

    fn criteria(&mut self, depth: usize) -> Result<Criterion> {
        if depth > DEPTH_MAX {
            return self.fail(format!("criteria are at most {DEPTH_MAX} deep"));
        }
        self.count()?;
        self.expect('{')?;
        let mut parts = Vec::new();
        while !self.takes('}') {
            if !parts.is_empty() {
                self.expect(',')?;
            }
            self.count()?;
            parts.push(self.criterion(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Criterion::All(parts) })
    }

    fn count(&mut self) -> Result<()> {
        self.criteria += 1;
        if self.criteria > CRITERIA_MAX {
            return self.fail(format!("a query has at most {CRITERIA_MAX} criteria"));
        }
        Ok(())
    }

    fn criterion(&mut self, depth: usize) -> Result<Criterion> {
        self.space();
        let start = self.at;
        let name = self.string()?;
        self.expect(':')?;
        match name.as_str() {
            "$and" => Ok(Criterion::All(self.several(depth)?)),
            "$or" => Ok(Criterion::Any(self.several(depth)?)),
            "$msp" => {
                let parts = self.several(depth)?;
                if !parts.iter().all(is_about_properties) {
                    return self.fail_at(start, "'$msp' takes criteria about properties only");
                }
                Ok(Criterion::SameProperty(parts))
            }
            _ => self.about(start, &name),
        }
    }

    fn several(&mut self, depth: usize) -> Result<Vec<Criterion>> {
        self.expect('[')?;
        let mut parts = Vec::new();
        while !self.takes(']') {
            if !parts.is_empty() {
                self.expect(',')?;
            }
            parts.push(self.criteria(depth + 1)?);
        }
        Ok(parts)
    }

    /// What is asked of the field `name`, which stands at `start`.
    fn about(&mut self, start: usize, name: &str) -> Result<Criterion> {
        let subject = match name.strip_prefix('@').or_else(|| name.strip_prefix("property.@")) {
            Some("*") => {
                self.any_property += 1;
                if self.any_property > ANY_PROPERTY_MAX {
                    return self
                        .fail_at(start, format!("a query asks about any property at most {ANY_PROPERTY_MAX} times"));
                }
                Subject::Property(None)
            }
            Some(property) if property.len() > NAME_BYTES_MAX => {
                return self.fail_at(start, format!("the name of a property has at most {NAME_BYTES_MAX} bytes"));
            }
            Some(property) => Subject::Property(Some(property.to_owned())),
            None => match Field::named(name.strip_prefix("item.").unwrap_or(name)) {
                Some(field) => Subject::Field(field),
                None if name.starts_with('$') => return self.fail_at(start, format!("'{name}' can't stand here")),
                None => return self.fail_at(start, unknown(name)),
            },
        };
        self.space();
        if !self.text[self.at..].starts_with('{') {
            let comparison = self.comparison(&subject, Some(Operator::Equal))?;
            return Ok(subject.with(comparison));
        }
        self.expect('{')?;
        let mut parts = Vec::new();
        loop {
            let comparison = self.operator(&subject)?;
            parts.push(subject.clone().with(comparison));
            if !self.takes(',') {
                break;
            }
        }
        self.expect('}')?;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Criterion::All(parts) })
    }

    fn operator(&mut self, subject: &Subject) -> Result<Comparison> {
        self.count()?;
        self.space();
        let start = self.at;
        let name = self.string()?;
        self.expect(':')?;
        let operator = match name.as_str() {
            "$eq" => Operator::Equal,
            "$ne" => Operator::NotEqual,
            "$gt" => Operator::Greater,
            "$gte" => Operator::GreaterOrEqual,
            "$lt" => Operator::Less,
            "$lte" => Operator::LessOrEqual,
            "$match" => Operator::Matches,
            "$nmatch" => Operator::MatchesNot,
            "$before" | "$last" => {
                if !subject.is_time() {
                    return self.fail_at(start, format!("'{name}' is for points in time"));
                }
                let operator = if name == "$before" { Operator::Less } else { Operator::GreaterOrEqual };
                let ago = self.now.0.saturating_sub(self.age()?);
                return Ok(Comparison { operator, operand: Operand::Number(ago) });
            }
            other => return self.fail_at(start, format!("'{other}' is no operator")),
        };
        if matches!(operator, Operator::Matches | Operator::MatchesNot) && !subject.is_text() {
            return self.fail_at(start, format!("'{name}' is for texts"));
        }
        self.comparison(subject, Some(operator))
    }

    fn comparison(&mut self, subject: &Subject, operator: Option<Operator>) -> Result<Comparison> {
        self.space();
        let start = self.at;
        let text = if self.text[self.at..].starts_with('"') { self.string()? } else { self.digits()?.to_owned() };
        let number = || text.parse().ok();
        let operand = match subject {
            Subject::Field(field) if field.is_number() => match number() {
                Some(number) => Operand::Number(number),
                None => return self.fail_at(start, format!("'{}' is a number", field.name())),
            },
            Subject::Field(field) if field.is_time() => match parse_iso8601(&text).map(|time| time.0).or_else(number) {
                Some(ms) => Operand::Number(ms),
                None => {
                    let reason = format!("'{}' is a time: 2026-11-21T21:47:22.005Z, or milliseconds", field.name());
                    return self.fail_at(start, reason);
                }
            },
            Subject::Field(Field::Type) if !matches!(text.as_str(), "file" | "folder" | "any") => {
                return self.fail_at(start, format!("'{text}' is no type: 'file', 'folder' or 'any'"));
            }
            _ if text.len() > TEXT_BYTES_MAX => {
                return self.fail_at(start, format!("nothing is longer than {TEXT_BYTES_MAX} bytes"));
            }
            // Keys of repositories are the same whatever their case.
            Subject::Field(Field::Repo) => Operand::Text(text.to_ascii_lowercase()),
            _ => Operand::Text(text),
        };
        Ok(Comparison { operator: operator.unwrap_or(Operator::Equal), operand })
    }

    /// `2d`, in milliseconds.
    fn age(&mut self) -> Result<u64> {
        self.space();
        let start = self.at;
        let text = self.string()?;
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit_ms = match text[digits..].trim() {
            "ms" | "millis" | "milliseconds" => 1,
            "s" | "seconds" => 1000,
            "minutes" => 60_000,
            "h" | "hours" => 3_600_000,
            "d" | "days" => 86_400_000,
            "w" | "weeks" => 7 * 86_400_000,
            "mo" | "months" => 30 * 86_400_000,
            "y" | "years" => 365 * 86_400_000,
            _ => return self.fail_at(start, "an age is a number and its unit: ms, s, minutes, h, d, w, mo or y"),
        };
        match text[..digits].parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms)) {
            Some(ms) => Ok(ms),
            None => self.fail_at(start, "an age begins with a number"),
        }
    }

    fn number(&mut self) -> Result<u64> {
        self.space();
        let start = self.at;
        let digits = self.digits()?;
        digits.parse().or_else(|_| self.fail_at(start, "a number from 0 was expected"))
    }

    fn digits(&mut self) -> Result<&'a str> {
        let rest = &self.text[self.at..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return self.fail("a value was expected: a text in quotes, or a number from 0");
        }
        self.at += digits;
        Ok(&rest[..digits])
    }

    /// A JSON string.
    fn string(&mut self) -> Result<String> {
        self.space();
        let rest = &self.text[self.at..];
        if !rest.starts_with('"') {
            return self.fail("a text in double quotes was expected");
        }
        let mut is_escaped = false;
        let end = rest[1..].find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let Some(end) = end else { return self.fail("the quotes are never closed") };
        let Ok(text) = serde_json::from_str(&rest[..end + 2]) else {
            return self.fail("the text has an escape or a control character that JSON doesn't know");
        };
        self.at += end + 2;
        Ok(text)
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn takes(&mut self, wanted: char) -> bool {
        self.space();
        let is_there = self.text[self.at..].starts_with(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        if self.takes(wanted) {
            return Ok(());
        }
        let found = self.text[self.at..].chars().next();
        let found =
            found.map_or_else(|| "the query ends".to_owned(), |found| format!("there is '{}'", found.escape_default()));
        self.fail(format!("'{wanted}' was expected, and {found}"))
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T> {
        self.fail_at(self.at, reason)
    }

    fn fail_at<T>(&self, at: usize, reason: impl Into<String>) -> Result<T> {
        Err(BadQuery { column: self.text[..at].chars().count() + 1, reason: reason.into() })
    }
}

/// What a comparison is about.
#[derive(Clone)]
enum Subject {
    Field(Field),
    Property(Option<String>),
}

impl Subject {
    fn with(self, comparison: Comparison) -> Criterion {
        match self {
            Subject::Field(field) => Criterion::Field(field, comparison),
            Subject::Property(name) => Criterion::Property(name, comparison),
        }
    }

    fn is_time(&self) -> bool {
        matches!(self, Subject::Field(field) if field.is_time())
    }

    fn is_text(&self) -> bool {
        !matches!(self, Subject::Field(field) if field.is_time() || field.is_number())
    }
}

fn is_about_properties(criterion: &Criterion) -> bool {
    match criterion {
        Criterion::All(parts) | Criterion::Any(parts) | Criterion::SameProperty(parts) => {
            parts.iter().all(is_about_properties)
        }
        Criterion::Field(field, _) => field.is_of_properties(),
        Criterion::Property(..) => true,
    }
}

/// A field that can be told: properties are many.
fn include_names(name: &str) -> Option<Field> {
    Field::named(name.strip_prefix("item.").unwrap_or(name)).filter(|field| !field.is_of_properties())
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = Field::NAMES.iter().map(|(_, name)| *name).collect();
    let name: String = name.chars().take(80).collect();
    format!("'{name}' is no field that can be asked for here: {} or @PROPERTY", names.join(", "))
}
