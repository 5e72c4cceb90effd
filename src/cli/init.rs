//! `artimesh init`

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use artimesh_core::model::{CircleId, KeyPair, NodeId, NodeName};
use clap::Args;
use serde_json::{Value, json};

use super::command::Global;
use super::flags::SettingFlags;
use super::misuse::Misuse;
use super::output;
use super::run::WriteFounding;
use crate::config::{FILE_NAME, Given, Keys, load, random_pair, sample, write_new, write_pair};

/// The options of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// What people call the node: a-z, 0-9 and '-', unique in its circle
    #[arg(long)]
    name: NodeName,
    /// Found a circle of trust with this node as its first member
    #[arg(long)]
    new_circle: bool,
    /// Where the new circle's root key is written; the default is circle-root.key in the data folder
    #[arg(long, value_name = "FILE", requires = "new_circle")]
    root_key: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What `init` writes, in this order. The configuration comes last: it is what makes a folder a node's.
const OURS: [&str; 5] = ["keys", "admin.token", "circle-root.key", "circle.founding", FILE_NAME];

/// Creates the data folder.
pub(super) fn run(global: &Global, command: &Init, write_founding: WriteFounding) -> anyhow::Result<()> {
    let folder = global.data.as_deref().ok_or(Misuse("say which folder to create: --data DIR"))?;
    let mut given = command.settings.0.clone();
    given.push(Given { key: "node.name", value: command.name.to_string() });
    let file = sample(&load(None, [], &given)?.origins);
    let root_path = command.new_circle.then(|| command.root_key.clone().unwrap_or(folder.join("circle-root.key")));

    let existed = check_empty(folder)?;
    if let Some(path) = root_path.as_ref().filter(|path| path.symlink_metadata().is_ok()) {
        bail!("{} exists: name another file for the root key", path.display());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| folder.display().to_string())?;
    let made = make(folder, &command.name, root_path.as_deref(), write_founding)
        .and_then(|made| Ok(write_new(&folder.join(FILE_NAME), file.as_bytes(), 0o644).map(|()| made)?));
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            undo(folder, existed, root_path.as_deref());
            return Err(error.context(format!("{} was not initialised", folder.display())));
        }
    };
    let value = made.report(folder, command, root_path.as_deref());
    output::answer(global.json, &value, |value| human(value, folder))?;
    if let Some(path) = root_path {
        output::note(&advice(&path));
    }
    Ok(())
}

struct Made {
    keys: Keys,
    root: Option<KeyPair>,
}

impl Made {
    fn report(&self, folder: &Path, command: &Init, root_path: Option<&Path>) -> Value {
        json!({
            "node": {"id": NodeId::of(&self.keys.log.public()).to_string(), "name": command.name},
            "data": folder,
            "circle": self.root.as_ref().map(|root| CircleId::of(&root.public()).to_string()),
            "root_key": root_path,
        })
    }
}

/// Whether the folder exists already.
///
/// # Errors
/// It isn't an empty folder; the message says what it is instead.
fn check_empty(folder: &Path) -> anyhow::Result<bool> {
    let shown = folder.display();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| shown.to_string()),
    };
    let names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .with_context(|| shown.to_string())?;
    // The root folder of a file system of its own is empty all the same.
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != "lost+found").collect();
    let is_ours = |name: &&str| OURS.contains(name) || OURS.contains(&name.trim_end_matches(".new"));
    if names.is_empty() {
        return Ok(true);
    } else if names.contains(&FILE_NAME) {
        bail!("{shown} is initialised already; nothing was changed");
    } else if names.iter().all(is_ours) {
        bail!("an earlier init of {shown} was interrupted; remove the folder and repeat");
    }
    bail!("{shown} is not empty and not the folder of a node; nothing was changed")
}

fn make(
    folder: &Path,
    name: &NodeName,
    root_path: Option<&Path>,
    write_founding: WriteFounding,
) -> anyhow::Result<Made> {
    fs::DirBuilder::new().mode(0o700).create(folder.join("keys"))?;
    let keys = Keys::generate()?;
    keys.write(folder)?;
    write_new(&folder.join("admin.token"), format!("{}\n", random_token()?).as_bytes(), 0o600)?;
    let root = root_path.map(|path| found(folder, name, path, &keys, write_founding)).transpose()?;
    // The folder itself has to survive a power loss too, not only what is in it.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(parent)?.sync_all()?;
    Ok(Made { keys, root })
}

fn found(
    folder: &Path,
    name: &NodeName,
    root_path: &Path,
    keys: &Keys,
    write_founding: WriteFounding,
) -> anyhow::Result<KeyPair> {
    let root = random_pair()?;
    write_pair(root_path, &root)?;
    write_founding(folder, name, &root, keys)?;
    Ok(root)
}

/// 256 random bits as `amt_` and 52 letters and digits.
fn random_token() -> io::Result<String> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(format!("amt_{}", data_encoding::BASE32_NOPAD.encode(&secret).to_ascii_lowercase()))
}

/// Takes out what a failed `init` wrote: the folder was empty or absent before, so everything of ours in it is new.
fn undo(folder: &Path, existed: bool, root_path: Option<&Path>) {
    // The error that led here is the one to tell; what can't be removed is named by the next attempt.
    for name in OURS {
        let path = folder.join(name);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    if let Some(path) = root_path {
        let _ = fs::remove_file(path);
    }
    if !existed {
        let _ = fs::remove_dir(folder);
    }
}

fn human(value: &Value, folder: &Path) -> String {
    let shown = folder.display();
    let mut text = format!("created {shown} for node {}\n", output::field(&value["node"], "name"));
    text += &format!("  node id        {}\n", output::field(&value["node"], "id"));
    if !value["circle"].is_null() {
        text += &format!("  circle         {}\n", output::field(value, "circle"));
    }
    text += &format!("  configuration  {}\n", folder.join(FILE_NAME).display());
    text += &format!("  administrator  {}\n", folder.join("admin.token").display());
    text += &format!("next: artimesh serve --data {shown}");
    if value["circle"].is_null() {
        text += &format!("\nthen: artimesh pair accept --data {shown}   (joins a circle with a pairing token)");
    }
    text
}

fn advice(path: &Path) -> String {
    format!(
        "\nThe root key of the new circle is in {}.\n\
         It can admit and revoke every node, so it should not stay on this machine: move it to two media that you keep\n\
         offline, and remove the file. The node doesn't need it to run.",
        path.display()
    )
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
