//! `artimesh federation status [REPO]`: the part of the node's status that is about one federation, on one page.

use anyhow::bail;
use artimesh_core::model::RepoKey;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{self, bytes, duration, field, items, short, table};
use super::status::{self, last_error};

/// Which federation.
#[derive(Debug, Args)]
pub struct Status {
    /// The repository's key; all that are shared unless given
    key: Option<RepoKey>,
}

/// Asks the node for its status, and shows that.
pub(super) async fn run(client: &Client, command: &Status, json: bool) -> anyhow::Result<()> {
    let status = client.call(Method::GET, status::PATH, None).await?;
    let federations = federations(&status, command.key.as_ref());
    if let (Some(key), true) = (&command.key, federations.is_empty()) {
        bail!("there is no repository '{key}' here; `artimesh repo list`");
    }
    output::answer(json, &json!({ "federations": federations }), human)
}

/// One federation each: what the status has of the repository, and the node itself as the first of its members.
fn federations(status: &Value, key: Option<&RepoKey>) -> Vec<Value> {
    let node = &status["node"];
    let is_wanted = |repository: &&Value| match key {
        Some(key) => repository["key"].as_str().is_some_and(|its| its.eq_ignore_ascii_case(key.as_str())),
        None => !items(repository, "members").is_empty(),
    };
    let of = |repository: &Value| {
        let mut federation = repository.clone();
        let here = json!({
            "node": node["id"], "name": node["name"], "role": node["role"], "repo_key": repository["key"],
            "state": "self", "connected": Value::Null, "behind_entries": Value::Null, "behind_ms": Value::Null,
            "last_error": Value::Null,
        });
        if let Some(members) = federation["members"].as_array_mut() {
            members.insert(0, here);
        }
        federation
    };
    items(status, "repositories").iter().filter(is_wanted).map(of).collect()
}

fn human(answer: &Value) -> String {
    let federations = items(answer, "federations");
    if federations.is_empty() {
        return "no repository is shared with another node: `artimesh federation invite`".to_owned();
    }
    federations.iter().map(page).collect::<Vec<_>>().join("\n\n")
}

fn page(federation: &Value) -> String {
    let counted = |name: &str| federation[name].as_u64().map_or("-".to_owned(), |count| count.to_string());
    let missing = match (federation["missing_blobs"].as_u64(), federation["missing_bytes"].as_u64()) {
        (Some(0), _) => "nothing".to_owned(),
        (Some(blobs), Some(size)) => format!("{blobs} blobs, {}", bytes(size)),
        _ => "-".to_owned(),
    };
    let more = if federation["conflicts_are_more"] == true { "+" } else { "" };
    let mut text = format!("repository    {} (federation {})\n", field(federation, "key"), id(federation));
    text += &format!("state         {}, {} artifacts\n", state(federation), counted("artifacts"));
    text += &format!("missing here  {missing}\n");
    if let Some(lost @ 1..) = federation["lost"]["blobs"].as_u64() {
        text += &format!("lost          {lost} blobs: `artimesh status` names them\n");
    }
    text += &format!("conflicts     {}{more}\n", counted("conflicts"));
    text += &format!("holds         {}\n\n", counted("holds"));
    let rows = items(federation, "members").iter().map(member);
    text + &table(["member", "repository", "role", "connected", "lacks", "oldest of it", "last error"], rows)
}

fn id(federation: &Value) -> String {
    short(&field(federation, "federation"))
}

fn state(federation: &Value) -> String {
    short(&field(federation, "state_digest"))
}

fn member(member: &Value) -> [String; 7] {
    let is_self = member["state"] == "self";
    let seen = member["told_ms_ago"].as_u64();
    let connected = match (&member["connected"], seen) {
        _ if is_self => "this node".to_owned(),
        (Value::Bool(true), _) => "yes".to_owned(),
        (_, Some(ago)) => format!("no, seen {} ago", duration(ago)),
        (_, None) if member["invited"] == true => "no, invited".to_owned(),
        (_, None) => "no, not since the start".to_owned(),
    };
    let lacks = match member["behind_entries"].as_u64() {
        _ if is_self => "-".to_owned(),
        Some(0) => "nothing".to_owned(),
        Some(count) => format!("{count} entries"),
        None => "unknown".to_owned(),
    };
    let oldest = member["behind_ms"].as_u64().map_or("-".to_owned(), |ago| format!("{} ago", duration(ago)));
    let (name, key, role) = (field(member, "name"), field(member, "repo_key"), field(member, "role"));
    [name, key, role, connected, lacks, oldest, last_error(member)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Value {
        json!({
            "node": {"id": "aabb", "name": "berlin", "role": "full"},
            "repositories": [
                {"key": "libs", "federation": "abcdef0123456789", "state_digest": "99aa", "artifacts": 5, "conflicts": 3,
                 "holds": 1, "missing_blobs": 2, "missing_bytes": 1024, "lost": {"blobs": 1, "bytes": 9},
                 "members": [
                    {"node": "cc", "name": "paris", "repo_key": "libs-fr", "role": "full", "connected": true,
                     "behind_entries": 7, "behind_ms": 65_000, "told_ms_ago": 200, "last_error": null},
                    {"node": "dd", "name": "os\u{1b}lo", "repo_key": "libs", "role": "edge", "connected": false,
                     "behind_entries": 0, "told_ms_ago": 180_000,
                     "last_error": {"code": "unreachable", "message": "refused", "remedy": "start it"}},
                    {"node": "ee", "name": "rome", "repo_key": null, "role": "full", "connected": false, "invited": true,
                     "behind_entries": null, "told_ms_ago": null}]},
                {"key": "mine", "federation": "00", "artifacts": 1, "conflicts": 0, "holds": 0, "missing_blobs": 0,
                 "missing_bytes": 0, "members": []}],
        })
    }

    #[test]
    fn a_federation_reads_as_a_page() {
        let golden = "\
repository    libs (federation abcdef012345)
state         99aa, 5 artifacts
missing here  2 blobs, 1.00 KiB
lost          1 blobs: `artimesh status` names them
conflicts     3
holds         1

 MEMBER  REPOSITORY  ROLE  CONNECTED           LACKS      OLDEST OF IT  LAST ERROR
 berlin  libs        full  this node           -          -             -
 paris   libs-fr     full  yes                 7 entries  65 s ago      -
 os\u{fffd}lo   libs        edge  no, seen 3 min ago  nothing    -             unreachable: refused → start it
 rome    -           full  no, invited         unknown    -             -";
        assert_eq!(human(&json!({ "federations": federations(&status(), None) })), golden);
    }

    #[test]
    fn one_is_shown_by_its_key_and_those_that_nobody_shares_only_so() {
        let keys = |key: Option<&str>| {
            let key = key.map(|key| key.parse().unwrap());
            federations(&status(), key.as_ref()).iter().map(|each| field(each, "key")).collect::<Vec<_>>()
        };
        assert_eq!(keys(None), ["libs"]);
        assert_eq!(keys(Some("MINE")), ["mine"]);
        assert!(keys(Some("none")).is_empty());
        assert!(human(&json!({"federations": []})).contains("invite"));
        assert_eq!(federations(&status(), None)[0]["members"][0]["name"], "berlin");
    }
}
