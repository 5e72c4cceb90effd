//! `artimesh status`

use hyper::Method;
use serde_json::Value;

use super::client::Client;
use super::command::Global;
use super::output::{self, bytes, duration, field, items, moment, short, table};

/// The route of the status.
pub(super) const PATH: &str = "/artifactory/api/mesh/status";

/// Asks the node how everything is.
pub(super) async fn run(global: &Global) -> anyhow::Result<()> {
    let status = Client::find(global)?.call(Method::GET, PATH, None).await?;
    output::answer(global.json, &status, human)
}

/// The status for people. Fields may be missing (an older node) or new (a newer one).
fn human(status: &Value) -> String {
    let node = &status["node"];
    let mut text = format!("node        {} ({})\n", field(node, "name"), short(&field(node, "id")));
    let uptime = node["uptime_ms"].as_u64().map_or("-".to_owned(), duration);
    text += &format!("version     {}, up {uptime}\n", field(node, "version"));
    text += &format!("circle      {} as {}\n", short(&field(node, "circle")), field(node, "role"));
    text += &clock(&status["clock"]);
    text += &format!("http        {}\n", field(&status["http"], "address"));
    text += &format!("swarm       {}\n", field(&status["swarm"], "control"));
    text += &format!("bulk        {}\n", field(&status["swarm"], "bulk"));
    if let Some(store) = status["store"].as_object() {
        let pairs = store.iter().filter(|(_, value)| !value.is_null() && !value.is_object());
        let pairs = pairs.map(|(name, value)| format!("{name} {}", amount(name, value)));
        text += &format!("store       {}\n", pairs.collect::<Vec<_>>().join(", "));
        text += &upkeep(&status["store"]);
    }
    if let Some(cache) = status["cache"].as_object() {
        let pairs = cache.iter().map(|(name, value)| format!("{name} {}", amount(name, value)));
        text += &format!("cache       {}\n", pairs.collect::<Vec<_>>().join(", "));
    }
    text += &syncs(&status["syncs"]);
    for line in items(status, "attention") {
        text += &format!("\n! {}\n  → {}\n", field(line, "message"), field(line, "remedy"));
    }
    text += &format!("\n{}\n", members(status));
    let repositories = items(status, "repositories");
    if repositories.is_empty() {
        return text + "\nno repositories\n";
    }
    text += &format!("\n{}\n", self::repositories(repositories));
    let replicas = replicas(repositories);
    if !replicas.is_empty() {
        text += &format!("\n{replicas}\n");
    }
    text
}

/// When the store was verified and swept last, since the node's start; nothing of what never was.
fn upkeep(store: &Value) -> String {
    let mut text = String::new();
    let (scrub, gc) = (&store["scrub"], &store["gc"]);
    let size = |value: &Value| value.as_u64().map_or("-".to_owned(), bytes);
    let found = format!("{} rotten, {} other damaged", field(scrub, "rotten_blobs"), field(scrub, "damaged_records"));
    let (done, all) = (size(&scrub["done_bytes"]), size(&scrub["bytes"]));
    if scrub["running"] == true {
        text += &format!("scrub       {done} of {all} verified; {found} until now\n");
    } else if let Some(ended) = scrub["ended_ms"].as_u64() {
        text += &format!("scrub       {}: {done} of {all} verified; {found}\n", moment(ended));
    }
    if let Some(ended) = gc["ended_ms"].as_u64() {
        let (blobs, freed) = (field(gc, "removed_blobs"), size(&gc["removed_bytes"]));
        text += &format!("gc          {}: {blobs} blobs, {freed} removed\n", moment(ended));
    }
    text
}

/// How the node's clock stands among the others'; nothing while nobody was measured.
fn clock(clock: &Value) -> String {
    let Some(ahead_ms) = clock["ahead_ms"].as_i64().filter(|_| !items(clock, "peers").is_empty()) else {
        return String::new();
    };
    let way = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let off = duration(ahead_ms.unsigned_abs());
    let stopped = clock["takes_writes"] == false;
    let turn = if stopped { ": no writes are taken until it is set right" } else { "" };
    format!("clock       {off} {way} the other members{turn}\n")
}

/// How long making things durable takes: half of the times and nearly always; nothing while nothing was.
fn syncs(syncs: &Value) -> String {
    let within = |of: &Value, name: &str| of[name].as_u64().map_or("more than 10 s".to_owned(), milliseconds);
    let line = |(name, of): (&String, &Value)| {
        let count = of["count"].as_u64().filter(|count| *count > 0)?;
        let (half, most) = (within(of, "half_within_us"), within(of, "most_within_us"));
        Some(format!("{} {count}, half within {half}, 99 % within {most}", output::plain(name)))
    };
    let lines: Vec<String> = syncs.as_object().into_iter().flatten().filter_map(line).collect();
    if lines.is_empty() { String::new() } else { format!("syncs       {}\n", lines.join("; ")) }
}

/// Microseconds for people.
fn milliseconds(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{} ms", us / 1000),
    }
}

fn amount(name: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(count) if name.contains("bytes") => bytes(count),
        _ => output::plain(&value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    }
}

fn members(status: &Value) -> String {
    let rows = items(status, "members").iter().map(|member| {
        let (node, error) = (short(&field(member, "node")), last_error(member));
        let [round_trip, received, sent] = traffic(&member["traffic"]);
        [field(member, "name"), node, field(member, "role"), field(member, "state"), round_trip, received, sent, error]
    });
    table(["member", "node", "role", "state", "round trip", "received", "sent", "last error"], rows)
}

/// Round trip, and what was received (and how fast it last came) and sent, over how many connections.
fn traffic(traffic: &Value) -> [String; 3] {
    let amount = |name: &str| traffic[name].as_u64().map_or("-".to_owned(), bytes);
    let round_trip = traffic["round_trip_us"].as_u64().map_or("-".to_owned(), milliseconds);
    let rate = traffic["receiving_bytes_per_s"].as_u64().map(|rate| format!(" at {}/s", bytes(rate)));
    let several = traffic["bulk_connections"].as_u64().filter(|count| *count > 1);
    let over = several.map(|count| format!(" over {count}")).unwrap_or_default();
    [round_trip, amount("received_bytes") + &rate.unwrap_or_default() + &over, amount("sent_bytes")]
}

/// What went wrong last with a member, and what to do about it.
pub(super) fn last_error(value: &Value) -> String {
    let error = &value["last_error"];
    match error {
        Value::Null => "-".to_owned(),
        Value::Object(_) => {
            let remedy = error["remedy"].as_str().map(|_| format!(" → {}", field(error, "remedy"))).unwrap_or_default();
            format!("{}: {}{remedy}", field(error, "code"), field(error, "message"))
        }
        _ => field(value, "last_error"),
    }
}

fn repositories(repositories: &[Value]) -> String {
    let rows = repositories.iter().map(|repo| {
        let missing = match (repo["missing_blobs"].as_u64(), repo["missing_bytes"].as_u64()) {
            (Some(0), _) => "nothing".to_owned(),
            (Some(blobs), Some(size)) => format!("{blobs} blobs, {}", bytes(size)),
            _ => "-".to_owned(),
        };
        let missing = match repo["lost"]["blobs"].as_u64() {
            None | Some(0) => missing,
            Some(lost) => {
                format!("{missing}; lost: {lost} blobs, {}", bytes(repo["lost"]["bytes"].as_u64().unwrap_or(0)))
            }
        };
        let federation = short(&field(repo, "federation"));
        let digest = short(&field(repo, "state_digest"));
        let placement = field(repo, "placement");
        let more = if repo["conflicts_are_more"] == true { "+" } else { "" };
        let conflicts = format!("{}{more}", field(repo, "conflicts"));
        [field(repo, "key"), federation, placement, field(repo, "artifacts"), conflicts, missing, digest]
    });
    table(["repository", "federation", "placement", "artifacts", "conflicts", "missing here", "state"], rows)
}

fn replicas(repositories: &[Value]) -> String {
    let pairs = repositories.iter().flat_map(|repo| items(repo, "members").iter().map(move |member| (repo, member)));
    let rows: Vec<_> = pairs
        .map(|(repo, member)| {
            let connected = if member["connected"] == true { "yes" } else { "no" };
            let behind = match member["behind_entries"].as_u64() {
                Some(0) => "in sync".to_owned(),
                Some(count) => format!("{count} entries"),
                None => "unknown".to_owned(),
            };
            let lag = member["lag_ms"].as_u64().map_or("-".to_owned(), duration);
            let place = format!("{}/{}", field(member, "name"), field(member, "repo_key"));
            [field(repo, "key"), place, connected.to_owned(), behind, lag, last_error(member)]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    table(["repository", "at", "connected", "behind", "lag", "last error"], rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_reads_as_a_page() {
        let status = json!({
            "node": {"id": "aabbccddeeff00112233", "name": "berlin", "version": "0.1.0", "role": "full",
                     "circle": "00112233445566", "uptime_ms": 7_200_000},
            "clock": {"ahead_ms": 10_800_000, "takes_writes": false, "peers": [{"name": "paris"}]},
            "http": {"address": "127.0.0.1:8082"},
            "swarm": {"control": ["/ip4/127.0.0.1/tcp/8083"], "bulk": []},
            "store": {"bytes": 2048, "blobs": 3, "failed": null,
                      "scrub": {"running": false, "ended_ms": 784_111_777_000_u64, "bytes": 2048, "done_bytes": 2048,
                                "rotten_blobs": 1, "damaged_records": 0},
                      "gc": {"ended_ms": 784_111_777_000_u64, "removed_blobs": 2, "removed_bytes": 1024}},
            "syncs": {"commit": {"count": 7, "half_within_us": 250, "most_within_us": null}, "large": {"count": 0}},
            "attention": [{"code": "key_taken", "message": "federation x waits", "remedy": "delete libs"}],
            "members": [{"node": "ffeeddccbbaa9988", "name": "pa\u{1b}ris", "role": "edge", "state": "unreachable",
                         "traffic": {"round_trip_us": 1250, "received_bytes": 2048, "receiving_bytes_per_s": 1024,
                                     "sent_bytes": 0, "bulk_connections": 4},
                         "last_error": {"code": "dial", "message": "refused", "remedy": "start it"}}],
            "repositories": [{"key": "libs", "federation": "abcdef0123456789", "placement": "mirror",
                "state_digest": "99", "artifacts": 5, "conflicts": 200, "conflicts_are_more": true, "missing_blobs": 2, "missing_bytes": 1024,
                "members": [{"name": "paris", "repo_key": "libs-fr", "connected": false, "behind_entries": null,
                             "lag_ms": null, "last_error": null}]}],
        });
        let golden = "\
node        berlin (aabbccddeeff)
version     0.1.0, up 2 h
circle      001122334455 as full
clock       3 h ahead of the other members: no writes are taken until it is set right
http        127.0.0.1:8082
swarm       /ip4/127.0.0.1/tcp/8083
bulk        -
store       blobs 3, bytes 2.00 KiB
scrub       Sun, 06 Nov 1994 08:49:37 GMT: 2.00 KiB of 2.00 KiB verified; 1 rotten, 0 other damaged
gc          Sun, 06 Nov 1994 08:49:37 GMT: 2 blobs, 1.00 KiB removed
syncs       commit 7, half within 0.2 ms, 99 % within more than 10 s

! federation x waits
  → delete libs

 MEMBER  NODE          ROLE  STATE        ROUND TRIP  RECEIVED                       SENT  LAST ERROR
 pa\u{fffd}ris  ffeeddccbbaa  edge  unreachable  1.2 ms      2.00 KiB at 1.00 KiB/s over 4  0 B   dial: refused → start it

 REPOSITORY  FEDERATION    PLACEMENT  ARTIFACTS  CONFLICTS  MISSING HERE       STATE
 libs        abcdef012345  mirror     5          200+       2 blobs, 1.00 KiB  99

 REPOSITORY  AT             CONNECTED  BEHIND   LAG  LAST ERROR
 libs        paris/libs-fr  no         unknown  -    -
";
        assert_eq!(human(&status), golden);
    }

    #[test]
    fn a_status_without_the_expected_fields_is_shown_all_the_same() {
        assert!(human(&json!({"later": 1})).contains("no repositories"));
    }
}
