//! `GET /artifactory/api/mesh/audit`

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::dates::{iso8601, parse_iso8601};
use super::error::HttpError;
use crate::service::{AuditQuery, Timestamp};

/// Lines that are answered unless it is said how many.
const LINES: usize = 100;

/// The newest lines that match, oldest first.
pub async fn get(ask: Ask) -> Result<Answer, HttpError> {
    let query = ask.query();
    let text = |name| query.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
    let query = AuditQuery {
        since_ms: query.get("since").map(since_ms).transpose()?,
        user: text("user"),
        path: text("path"),
        limit: query.get("limit").map_or(Ok(LINES), str::parse).map_err(|_| NOT_A_LIMIT)?,
    };
    let lines = ask.service().audited(&ask.caller, query).await?;
    let lines: Vec<Value> = lines.iter().filter_map(|line| shown(line)).collect();
    answer::json(StatusCode::OK, &json!({"records": lines}))
}

/// A line with its time for people, too.
fn shown(line: &str) -> Option<Value> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    value["time"] = json!(iso8601(Timestamp(value["at"].as_u64()?)));
    Some(value)
}

const NOT_A_LIMIT: HttpError = HttpError::Query { name: "limit", reason: "it is not a number of lines" };

/// A date in UTC, or milliseconds since 1970.
fn since_ms(text: &str) -> Result<u64, HttpError> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let not_a_time = HttpError::Query {
        name: "since",
        reason: "write a date and time in UTC, such as 2026-11-21T21:47:00Z, or milliseconds since 1970",
    };
    parse_iso8601(text).map(|time| time.0).ok_or(not_a_time)
}
