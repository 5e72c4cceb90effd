//! `artimesh profile …`: short names for nodes elsewhere, with what it takes to reach them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use hyper::{Method, Uri};
use serde_json::{Value, json};

use super::client::Client;
use super::command::Global;
use super::misuse::Misuse;
use super::output::{self, plain, table};
use super::target::{Target, is_token, token};
use crate::config::{Profile as Entry, Profiles};

/// What is asked to see whether a node answers, and takes the token.
const PROBE: &str = "/artifactory/api/system/version";
/// The same for those that have a token: only who is somebody may see it.
const PROBE_AS_SOMEBODY: &str = "/artifactory/api/repositories";
/// The longest token that is read from standard input.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Profiles.
#[derive(Debug, Subcommand)]
pub enum Profile {
    /// Give the node at --url a name; --token-file (- for standard input) and --ca-file are remembered with it
    Add(Add),
    /// List all of them
    List,
    /// Show one; whether it has a token, but never which
    Show(Named),
    /// Make one the default, where no node is named
    Use(Named),
    /// Forget one, and its token
    Remove(Named),
}

/// What to add.
#[derive(Debug, Args)]
pub struct Add {
    /// The name that --profile will take
    name: String,
    /// Take the place of the profile that has this name
    #[arg(long)]
    replace: bool,
    /// Don't ask the node whether it is there and takes the token
    #[arg(long)]
    no_check: bool,
}

/// Which.
#[derive(Debug, Args)]
pub struct Named {
    /// The profile's name
    name: String,
}

/// Does one of these.
pub(super) async fn run(global: &Global, command: &Profile) -> anyhow::Result<()> {
    let place = Profiles::place(std::env::vars_os());
    let place = place.context("there is no place for profiles: set HOME or XDG_CONFIG_HOME to an absolute path")?;
    match command {
        Profile::Add(command) => add(global, command, &place).await,
        Profile::List => list(&Profiles::load(&place)?, global.json),
        Profile::Show(Named { name }) => show(&Profiles::load(&place)?, name, global.json),
        Profile::Use(Named { name }) => {
            Profiles::change(&place, |profiles| profiles.make_default(name))?;
            output::answer(global.json, &json!({"default": name}), |_| format!("{name} is the default now"))
        }
        Profile::Remove(Named { name }) => {
            let default = Profiles::change(&place, |profiles| {
                profiles.remove(name)?;
                Ok(profiles.default_name().map(str::to_owned))
            })?;
            output::answer(global.json, &json!({"removed": name, "default": default}), |_| match &default {
                Some(default) => format!("{name} is forgotten; {default} is the default"),
                None => format!("{name} is forgotten; there is no default, see `artimesh profile use`"),
            })
        }
    }
}

async fn add(global: &Global, command: &Add, place: &Path) -> anyhow::Result<()> {
    let Add { name, replace, no_check } = command;
    let Some(url) = &global.url else {
        return Err(Misuse("say where the node is: --url URL").into());
    };
    if global.data.is_some() && global.is_flag("data") || global.profile.is_some() && global.is_flag("profile") {
        return Err(Misuse("a profile is of the node at --url, and of no other").into());
    }
    // One that only the environment names is of another node.
    let token = global.token_file.as_deref().filter(|_| global.is_flag("token_file")).map(secret).transpose()?;
    let ca_file = global.ca_file.as_deref().map(|file| file.canonicalize().with_context(|| file.display().to_string()));
    let ca_file: Option<PathBuf> = ca_file.transpose()?;
    if ca_file.as_ref().is_some_and(|file| file.to_str().is_none()) {
        bail!("the path of --ca-file isn't UTF-8");
    }
    let target = Target::at(url, token.clone(), ca_file.as_deref())?;
    let url = target.base.clone();
    let is_sent_plainly = token.is_some() && is_plain_elsewhere(&url);
    if is_sent_plainly {
        output::note(
            "the token goes there as plain text, for everybody on the way to read: use https if the node does",
        );
    }
    let version = if *no_check { Value::Null } else { probe(target).await? };
    let entry = Entry { url: url.clone(), token, ca_file };
    let default = Profiles::change(place, |profiles| {
        let stored = if *replace { profiles.put(name, entry) } else { profiles.add(name, entry) };
        stored?;
        Ok(profiles.default_name().map(str::to_owned))
    })?;
    let is_default = default.as_ref() == Some(name);
    let value = json!({"name": name, "url": url, "version": version, "default": is_default});
    output::answer(global.json, &value, |value| {
        let version = value["version"].as_str().map(|version| format!(", version {}", plain(version)));
        let default = if is_default { "; it is the default" } else { "" };
        format!("{name} is {url}{}{default}", version.unwrap_or_default())
    })
}

/// Its version, if it answers as it should.
async fn probe(target: Target) -> anyhow::Result<Value> {
    let has_token = target.token.is_some();
    let client = Client::new(target);
    let hint = "nothing was stored; --no-check stores it all the same";
    let version = client.call(Method::GET, PROBE, None).await.context(hint)?;
    if has_token {
        client.call(Method::GET, PROBE_AS_SOMEBODY, None).await.context(hint)?;
    }
    Ok(version["version"].clone())
}

/// A token out of a file, or (`-`) from standard input.
fn secret(path: &Path) -> anyhow::Result<String> {
    if path != Path::new("-") {
        return token(path);
    }
    let mut text = String::new();
    std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text).context("standard input")?;
    let text = text.trim();
    if !is_token(text) {
        bail!("standard input doesn't hold a token");
    }
    Ok(text.to_owned())
}

fn is_plain_elsewhere(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    url.starts_with("http://") && !is_here
}

fn json_of(profiles: &Profiles, name: &str, profile: &Entry) -> Value {
    let is_default = profiles.default_name() == Some(name);
    let has_token = profile.token.is_some();
    json!({"name": name, "url": profile.url, "token": has_token, "ca_file": profile.ca_file, "default": is_default})
}

fn list(profiles: &Profiles, json: bool) -> anyhow::Result<()> {
    let all: Vec<Value> = profiles.iter().map(|(name, profile)| json_of(profiles, name, profile)).collect();
    let value = json!({"profiles": all});
    output::answer(json, &value, |value| {
        let rows = output::items(value, "profiles").iter().map(|profile| {
            let yes = |name: &str| if profile[name] == true { "yes" } else { "-" }.to_owned();
            let [name, url, ca_file] = ["name", "url", "ca_file"].map(|name| output::field(profile, name));
            [name, url, yes("token"), ca_file, yes("default")]
        });
        match all.is_empty() {
            true => "no profiles; `artimesh profile add NAME --url URL` makes one".to_owned(),
            false => table(["name", "url", "token", "ca file", "default"], rows),
        }
    })
}

fn show(profiles: &Profiles, name: &str, json: bool) -> anyhow::Result<()> {
    let value = json_of(profiles, name, profiles.get(name)?);
    output::answer(json, &value, |value| {
        let lines = ["name", "url", "ca_file"].map(|field| format!("{field}: {}", output::field(value, field)));
        let token = if value["token"] == true { "stored, and never shown" } else { "-" };
        let default = if value["default"] == true { "yes" } else { "no" };
        format!("{}\ntoken: {token}\ndefault: {default}", lines.join("\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake_node::{FakeNode, answer};

    fn global(url: &str, token_file: Option<PathBuf>) -> Global {
        Global { url: Some(url.to_owned()), token_file, ..Global::default() }
    }

    fn command(name: &str) -> Add {
        Add { name: name.to_owned(), replace: false, no_check: false }
    }

    #[tokio::test]
    async fn a_profile_is_stored_when_the_node_answers_and_takes_the_token() {
        let node = FakeNode::start(|asked| match asked.header("authorization") {
            "" | "Bearer amt_good" => answer(200, &[], r#"{"version":"7.0.0"}"#),
            _ => answer(401, &[], r#"{"errors":[{"status":401,"message":"bad token"}]}"#),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("artimesh/profiles.toml");
        let file = folder.path().join("token");
        crate::config::write_new(&file, b"amt_bad\n", 0o600).unwrap();
        let error = add(&global(&node.base, Some(file.clone())), &command("a"), &place).await.unwrap_err();
        assert!(format!("{error:#}").contains("bad token") && format!("{error:#}").contains("--no-check"), "{error:#}");
        assert!(!place.exists());
        std::fs::write(&file, "amt_good\n").unwrap();
        add(&global(&(node.base.clone() + "/artifactory/"), Some(file)), &command("a"), &place).await.unwrap();
        let stored = Profiles::load(&place).unwrap();
        let profile = stored.get("a").unwrap();
        assert_eq!((profile.url.as_str(), profile.token.as_deref()), (node.base.as_str(), Some("amt_good")));
        assert!(!json_of(&stored, "a", profile).to_string().contains("amt_"));
        let error = add(&global(&node.base, None), &command("a"), &place).await.unwrap_err();
        assert!(error.to_string().contains("--replace"), "{error}");
        let replacing = Add { replace: true, no_check: true, ..command("a") };
        add(&global("http://127.0.0.1:1", None), &replacing, &place).await.unwrap();
        assert_eq!(Profiles::load(&place).unwrap().get("a").unwrap().token, None);
    }

    #[test]
    fn tokens_in_plain_text_are_told_of_where_they_leave_the_machine() {
        for (url, expected) in [
            ("http://127.0.0.1:1", false),
            ("http://[::1]:1", false),
            ("http://localhost", false),
            ("https://a.example", false),
            ("http://a.example", true),
            ("http://127.example", true),
        ] {
            assert_eq!(is_plain_elsewhere(url), expected, "{url}");
        }
    }
}
