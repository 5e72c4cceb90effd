//! `artimesh audit`

use clap::Args;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::client::Client;
use super::command::Global;
use super::output::{self, bytes, duration, field, items, table};
use super::rollback::since;

const PATH: &str = "/artifactory/api/mesh/audit";

/// Which lines of the audit log.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only what was done since: a UTC time such as 2026-11-21T21:47:00Z, or how long ago, such as 90m
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Value>,
    /// Only what this user did
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only what was done to this: REPO, or REPO/PATH or the beginning of one
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// At most so many lines, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: u32,
}

/// Shows who did what, and who downloaded what.
pub(super) async fn run(global: &Global, command: &Audit) -> anyhow::Result<()> {
    let target = target(command);
    let answer = Client::find(global)?.call(Method::GET, &target, None).await?;
    output::answer(global.json, &answer, human)
}

fn target(command: &Audit) -> String {
    let since = command.since.as_ref().map(|since| since.as_str().map_or_else(|| since.to_string(), str::to_owned));
    let mut target = format!("{PATH}?limit={}", command.limit);
    for (name, value) in [("since", &since), ("user", &command.user), ("path", &command.path)] {
        if let Some(value) = value {
            target += &format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
    }
    target
}

fn human(answer: &Value) -> String {
    let records = items(answer, "records");
    if records.is_empty() {
        return "no lines".to_owned();
    }
    let rows = records.iter().map(|record| {
        let size = record["bytes"].as_u64().map_or("-".to_owned(), bytes);
        let took = record["ms"].as_u64().map_or("-".to_owned(), duration);
        let result = match record["status"].as_u64() {
            Some(status) => format!("{status} {}", field(record, "result")),
            None => field(record, "result"),
        };
        let [when, who, from] = ["time", "who", "from"].map(|name| field(record, name));
        [when, who, from, field(record, "what"), field(record, "object"), result, size, took]
    });
    table(["time", "who", "from", "what", "object", "result", "bytes", "took"], rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_wish_is_a_query() {
        let all = Audit { since: None, user: None, path: None, limit: 7 };
        assert_eq!(target(&all), "/artifactory/api/mesh/audit?limit=7");
        let some = Audit { since: Some(json!(1_700_000)), path: Some("libs/a b".into()), ..all };
        assert_eq!(target(&some), "/artifactory/api/mesh/audit?limit=7&since=1700000&path=libs%2Fa%20b");
    }

    #[test]
    fn lines_read_as_a_table() {
        let answer = json!({"records": [
            {"at": 0, "time": "2026-11-21T21:47:00.000Z", "who": "admin", "what": "download", "object": "libs/a\u{1b}",
             "result": "broken off", "status": 200, "bytes": 2048, "from": "192.0.2.7", "ms": 1500},
            {"at": 0, "time": "2026-11-21T21:47:01.000Z", "who": "admin", "what": "put", "object": "libs/b", "result": "done"},
        ]});
        let golden = " TIME                      WHO    FROM       WHAT      OBJECT   RESULT          BYTES     TOOK
 2026-11-21T21:47:00.000Z  admin  192.0.2.7  download  libs/a\u{fffd}  200 broken off  2.00 KiB  1 s
 2026-11-21T21:47:01.000Z  admin  -          put       libs/b   done            -         -";
        assert_eq!(human(&answer), golden);
        assert_eq!(human(&json!({"records": []})), "no lines");
    }
}
