//! The status page: how this node and its federations are, from the same JSON that the command line reads.

use serde_json::Value;

use super::html::{Escaped, page};

/// The page for the value of `GET /artifactory/api/mesh/status`. Fields may be missing (an older node) or new.
pub fn status_page(status: &Value) -> String {
    let node = &status["node"];
    let body =
        [attention(status), node_table(status), members(status), repositories(status), replicas(status)].concat();
    page(&format!("Artimesh: {}", plain(&node["name"])), &body)
}

/// What an operator should look at, before everything else; nothing when there is nothing.
fn attention(status: &Value) -> String {
    let rows: Vec<String> = items(status, "attention")
        .map(|line| row([judged(&plain(&line["message"]), &[]), cell(&plain(&line["remedy"]))]))
        .collect();
    if rows.is_empty() { String::new() } else { table("Attention", &["what", "what to do"], rows.into_iter()) }
}

fn node_table(status: &Value) -> String {
    let node = &status["node"];
    let mut rows = vec![
        row([cell("node"), code(&node["id"])]),
        row([cell("version"), cell(&plain(&node["version"]))]),
        row([cell("circle"), code(&node["circle"])]),
        row([cell("role"), cell(&plain(&node["role"]))]),
        row([cell("clock ahead of the others'"), judged_clock(status)]),
        row([cell("up"), cell(&milliseconds(&node["uptime_ms"]))]),
        row([cell("http"), cell(&plain(&status["http"]["address"]))]),
        row([cell("swarm"), cell(&plain(&status["swarm"]["control"]))]),
        row([cell("bulk"), cell(&plain(&status["swarm"]["bulk"]))]),
    ];
    for part in ["store", "cache"] {
        for (name, value) in status[part].as_object().into_iter().flatten() {
            let amount = if name.contains("bytes") { bytes(value) } else { plain(value) };
            rows.push(row([cell(&format!("{part}: {name}")), cell(&amount)]));
        }
    }
    format!("<table>{}</table>\n", rows.concat())
}

fn judged_clock(status: &Value) -> String {
    let clock = &status["clock"];
    let text = clock["ahead_ms"].as_i64().map_or_else(|| plain(&clock["ahead_ms"]), |ms| format!("{ms} ms"));
    if clock["takes_writes"] == false { judged(&text, &[]) } else { cell(&text) }
}

fn members(status: &Value) -> String {
    let rows = items(status, "members").map(|member| {
        row([
            cell(&plain(&member["name"])),
            code(&member["node"]),
            cell(&plain(&member["role"])),
            judged(&plain(&member["state"]), &["self", "connected"]),
            last_error(member),
        ])
    });
    table("Members", &["member", "node", "role", "state", "last error"], rows)
}

fn repositories(status: &Value) -> String {
    let rows = items(status, "repositories").map(|repository| {
        let missing = if repository["missing_blobs"] == 0 {
            "nothing".to_owned()
        } else {
            format!("{} ({})", plain(&repository["missing_blobs"]), bytes(&repository["missing_bytes"]))
        };
        let missing = match repository["lost"]["blobs"].as_u64() {
            None | Some(0) => missing,
            Some(lost) => format!("{missing}; lost: {lost} ({})", bytes(&repository["lost"]["bytes"])),
        };
        row([
            cell(&plain(&repository["key"])),
            cell(&plain(&repository["placement"])),
            cell(&plain(&repository["artifacts"])),
            judged(&conflicts(repository), &["0", "–"]),
            judged(&missing, &["nothing"]),
            code(&repository["state_digest"]),
        ])
    });
    table("Repositories", &["repository", "placement", "artifacts", "conflicts", "missing here", "state"], rows)
}

fn conflicts(repository: &Value) -> String {
    let more = if repository["conflicts_are_more"] == true { "+" } else { "" };
    format!("{}{more}", plain(&repository["conflicts"]))
}

fn replicas(status: &Value) -> String {
    let pairs = items(status, "repositories").flat_map(|repo| items(repo, "members").map(move |member| (repo, member)));
    let rows = pairs.map(|(repository, member)| {
        let behind = match member["behind_entries"].as_u64() {
            Some(0) => "in sync".to_owned(),
            Some(entries) => format!("{entries} entries"),
            None => "unknown".to_owned(),
        };
        row([
            cell(&plain(&repository["key"])),
            cell(&format!("{}/{}", plain(&member["name"]), plain(&member["repo_key"]))),
            cell(if member["connected"] == true { "yes" } else { "no" }),
            judged(&behind, &["in sync"]),
            cell(&milliseconds(&member["lag_ms"])),
            last_error(member),
        ])
    });
    table("Federations", &["repository", "at", "connected", "behind", "lag", "last error"], rows)
}

fn last_error(value: &Value) -> String {
    match &value["last_error"] {
        Value::Null => cell("–"),
        Value::Object(error) => {
            let part = |name: &str| error.get(name).map(plain).unwrap_or_default();
            let text = format!("{}: {} {}", part("code"), part("message"), part("remedy"));
            judged(text.trim_end(), &[])
        }
        other => judged(&plain(other), &[]),
    }
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

/// A value as words; nested lists with commas.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "–".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn bytes(value: &Value) -> String {
    let Some(count) = value.as_u64() else { return plain(value) };
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = count.checked_ilog2().unwrap_or(0) / 10;
    let unit = units.get(power as usize).copied().unwrap_or("EiB");
    let hundredths = (u128::from(count) * 100) >> (10 * power);
    if power == 0 { format!("{count} B") } else { format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100) }
}

fn milliseconds(value: &Value) -> String {
    match value.as_u64() {
        Some(ms) if ms < 10_000 => format!("{ms} ms"),
        Some(ms) if ms < 600_000 => format!("{} s", ms / 1000),
        Some(ms) if ms < 36_000_000 => format!("{} min", ms / 60_000),
        Some(ms) => format!("{} h", ms / 3_600_000),
        None => plain(value),
    }
}

fn cell(text: &str) -> String {
    format!("<td>{}</td>", Escaped(text))
}

fn code(value: &Value) -> String {
    let text = plain(value);
    let short: String = text.chars().take(12).collect();
    format!("<td><code title=\"{}\">{}</code></td>", Escaped(&text), Escaped(&short))
}

/// A cell that is marked good when its text is one of `good`, bad otherwise.
fn judged(text: &str, good: &[&str]) -> String {
    let class = if good.contains(&text) { "good" } else { "bad" };
    format!("<td class=\"{class}\">{}</td>", Escaped(text))
}

fn row<const N: usize>(cells: [String; N]) -> String {
    format!("<tr>{}</tr>\n", cells.concat())
}

fn table(title: &str, heads: &[&str], rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.collect();
    if rows.is_empty() {
        return format!("<h2>{title}</h2><p>none</p>\n");
    }
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    format!("<h2>{title}</h2><table><tr>{heads}</tr>\n{rows}</table>\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_in_the_status_becomes_markup() {
        let evil = "<script>alert(1)</script>";
        let status = json!({
            "node": {"id": evil, "name": evil, "version": evil, "role": evil, "circle": evil, "uptime_ms": 5},
            "http": {"address": evil}, "swarm": {"control": [evil], "bulk": evil}, "store": {evil: evil, "bytes": 3072},
            "clock": {"ahead_ms": evil}, "attention": [{"message": evil, "remedy": evil}],
            "members": [{"node": evil, "name": evil, "role": evil, "state": evil, "last_error": {"code": evil}}],
            "repositories": [{"key": evil, "placement": evil, "artifacts": evil, "conflicts": evil,
                "missing_blobs": evil, "missing_bytes": evil, "state_digest": evil,
                "members": [{"name": evil, "repo_key": evil, "connected": evil, "lag_ms": evil, "last_error": evil}]}],
        });
        let page = status_page(&status);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("3.00 KiB"));
    }

    #[test]
    fn conflicts_missing_bytes_and_lag_are_marked() {
        let status = json!({"repositories": [{"key": "libs", "conflicts": 2, "missing_blobs": 1, "missing_bytes": 1536,
            "members": [{"name": "paris", "repo_key": "l", "connected": false, "behind_entries": 7, "lag_ms": 12_000}]}]});
        let page = status_page(&status);
        for part in ["class=\"bad\">2<", "class=\"bad\">1 (1.50 KiB)<", "class=\"bad\">7 entries<", "12 s", "paris/l"] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }

    #[test]
    fn an_empty_status_is_still_a_page() {
        assert!(status_page(&Value::Null).contains("<h2>Members</h2><p>none</p>"));
    }
}
