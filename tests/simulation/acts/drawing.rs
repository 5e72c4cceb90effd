//! What a site's users ask for in a history: mostly puts, and everything else that can be done to paths.

use std::collections::BTreeMap;

use artimesh_core::catalog::{ConfigChange, Version};
use artimesh_core::model::Dot;
use artimesh_core::replica::Command;

use crate::checks::oracle;
use crate::history::{History, PATHS};
use crate::world::{delete, folder, path, put, repo};

/// Folders that are made as such.
const FOLDERS: [&str; 3] = ["a/", "b/y/", "empty/"];

/// One command for the repository `key` at a site; `what` is new in the history.
pub fn command(history: &mut History, site: usize, key: &str, what: &str) -> Command {
    let at = PATHS[history.dice.below(PATHS.len())];
    let by = "tester".to_owned();
    match history.dice.below(32) {
        0..=4 => delete(key, at),
        5..=8 => Command::SetProperties { key: repo(key), path: path(at), set: set(history, what), by },
        9..=10 => {
            let prefix = ["", "a", "a/", "b/", "b/y", "z"][history.dice.below(6)].to_owned();
            Command::DeleteUnder { key: repo(key), prefix, most: 1 + history.dice.below(4), by }
        }
        11..=12 => {
            let to = PATHS[history.dice.below(PATHS.len())];
            Command::Move { key: repo(key), from: path(at), to: path(to), by }
        }
        13 => Command::Restore { key: repo(key), path: path(at), version: some_version(history, site, key, at), by },
        // The first site keeps what it noticed, to be held against the rules.
        14 if site > 0 => {
            let versions =
                if history.dice.once_in(2) { vec![some_version(history, site, key, at)] } else { Vec::new() };
            Command::Dismiss { key: repo(key), path: path(at), versions, by }
        }
        15 => {
            let field = history.dice.once_in(2).then(|| what.to_owned());
            let set = ConfigChange { package_type: field.is_none().then(|| what.to_owned()), description: field };
            Command::Configure { key: repo(key), set, by }
        }
        16..=17 => of_folder(history, key, what),
        _ => put(key, at, what),
    }
}

/// A folder is made, or what was made as one is treated like a file.
fn of_folder(history: &mut History, key: &str, what: &str) -> Command {
    let (at, by) = (FOLDERS[history.dice.below(FOLDERS.len())], "tester".to_owned());
    match history.dice.below(8) {
        0..=1 => delete(key, at),
        2 => Command::SetProperties { key: repo(key), path: path(at), set: set(history, what), by },
        3 => {
            let to = FOLDERS[history.dice.below(FOLDERS.len())];
            Command::Move { key: repo(key), from: path(at), to: path(to), by }
        }
        _ => folder(key, at),
    }
}

fn set(history: &mut History, what: &str) -> BTreeMap<String, Option<Vec<String>>> {
    let names = 1 + history.dice.below(2);
    let pair = |_| {
        let name = ["arch", "build", "stage"][history.dice.below(3)].to_owned();
        (name, (!history.dice.once_in(4)).then(|| vec![what.to_owned()]))
    };
    (0..names).map(pair).collect()
}

/// A version of the path that is live at the site; some other dot when there is none.
fn some_version(history: &mut History, site: usize, key: &str, at: &str) -> Dot {
    let world = &history.world;
    let live: Vec<Version> = world
        .repository(site, key)
        .and_then(|space| oracle::catalog(&world.sites[site].disk, &space).remove(&path(at)))
        .unwrap_or_default();
    let nothing = Dot { incarnation: world.sites[site].mind().incarnation(), sequence: 1 };
    history.dice.pick(&live).map_or(nothing, |version| version.dot)
}
