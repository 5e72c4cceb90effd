//! The plan of the house, held by a test: which room may import which, and which foreign crates stay in which rooms.
//!
//! It reads source text only, so it says more than the compiler does and needs nothing that runs. The tables below are
//! the law; a new arrow is a change of its own, with its reason in the room's `//! # Why`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the rooms that it may import besides itself.
type Arrows = (&'static str, &'static [&'static str]);

/// The pure core, a package of its own.
const CORE: &[Arrows] = &[
    ("model", &[]),
    ("clock", &["model"]),
    ("trust", &["model", "clock"]),
    ("access", &["model", "clock"]),
    ("catalog", &["model", "clock"]),
    ("bundle", &["model", "clock"]),
    ("changelog", &["model", "clock", "trust", "access", "catalog", "bundle"]),
    ("replica", &["model", "clock", "trust", "access", "catalog", "bundle", "changelog"]),
];

const ALL_OF_CORE: &[&str] = &["model", "clock", "trust", "access", "catalog", "bundle", "changelog", "replica"];

/// The shell and the face. A name of the core stands for `artimesh_core::name`.
const SHELL: &[Arrows] = &[
    ("store", &["model", "clock", "catalog", "changelog"]),
    ("swarm", &["model", "changelog"]),
    ("engine", &["core", "store", "swarm"]),
    ("service", &["core", "store", "engine"]),
    ("formats", &["model", "service"]),
    ("console", &["model", "service"]),
    ("http", &["model", "access", "service", "formats", "console"]),
    ("config", &["model", "store", "swarm", "engine", "http"]),
    ("node", &["core", "store", "swarm", "engine", "service", "formats", "console", "http", "config"]),
    ("cli", &["model", "config", "node"]),
];

/// Foreign crates that only these rooms may name.
const FOREIGN: &[Arrows] = &[
    ("libp2p", &["swarm"]),
    ("libp2p_tls", &["swarm"]),
    ("yamux", &["swarm"]),
    ("rustls", &["swarm", "http", "cli"]),
    ("futures_rustls", &["swarm", "http"]),
    ("hyper_rustls", &["cli"]),
    ("rustls_native_certs", &["cli"]),
    ("sled", &["store"]),
    ("crc32fast", &["store", "http"]),
    ("tar", &["store", "http"]),
    ("flate2", &["http"]),
    ("hyper", &["http", "cli"]),
    ("hyper_util", &["http", "cli"]),
    ("http_body_util", &["http", "cli"]),
    ("matchit", &["http"]),
    ("httpdate", &["http", "cli"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("comfy_table", &["cli"]),
    ("tracing_subscriber", &["cli", "config"]),
    ("toml_edit", &["config"]),
    ("strsim", &["config"]),
    ("anyhow", &["node", "cli"]),
];

/// What the core may depend on.
const CORE_DEPENDENCIES: &[&str] = &["bincode", "blake3", "data-encoding", "ed25519-dalek", "serde", "thiserror"];

/// What the core never mentions: clocks, dice, the outside world, and maps whose order differs from run to run.
const NOT_IN_CORE: &[&str] = &[
    "SystemTime",
    "Instant",
    "HashMap",
    "HashSet",
    "RandomState",
    "rand",
    "getrandom",
    "tracing",
    "tokio",
    "futures",
    "async",
    "await",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "println",
    "eprintln",
];

/// One source file without its comments.
struct Source {
    /// Relative to the package, for messages.
    shown: String,
    room: String,
    /// How many `super` lead to the root of its package.
    depth: usize,
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The folders in `folder`, by name.
fn rooms(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("the source folder");
    let folders = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir());
    folders.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folder: &Path, table: &[Arrows]) -> Vec<Source> {
    let mut sources = Vec::new();
    for (room, _) in table {
        let mut paths = Vec::new();
        files(&folder.join(room), &mut paths);
        for path in paths {
            let inside = path.strip_prefix(folder).expect("found below it");
            let is_door = path.file_name().is_some_and(|name| name == "mod.rs");
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            sources.push(Source {
                shown: path.strip_prefix(root()).unwrap_or(&path).display().to_string(),
                room: (*room).to_owned(),
                depth: inside.components().count() - usize::from(is_door),
                code: without_comments(&text),
            });
        }
    }
    assert!(sources.len() > 20, "the test must see the house");
    sources
}

/// The text without `//` comments. A line is also cut at a `//` in a string, where nothing follows that matters here.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("").to_owned() + "\n").collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where `word` stands as a word of its own and not as the later part of a path.
fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(|c| is_word(c) || c == ':') && !after.is_some_and(is_word)
    })
}

/// The first names behind `head::`: one for `head::name`, several for `head::{one::x, other}`.
fn names_behind(code: &str, head: &str) -> Vec<String> {
    let mut names = Vec::new();
    for at in places(code, head) {
        let Some(rest) = code[at + head.len()..].strip_prefix("::") else { continue };
        let Some(group) = rest.strip_prefix('{') else {
            names.push(rest.chars().take_while(|c| is_word(*c)).collect());
            continue;
        };
        let mut nesting = 0;
        let mut name = Some(String::new());
        for character in group.chars() {
            match character {
                '}' if nesting == 0 => break,
                '{' => nesting += 1,
                '}' => nesting -= 1,
                ',' if nesting == 0 => names.extend(name.replace(String::new())),
                c if nesting == 0 && is_word(c) => name.iter_mut().for_each(|name| name.push(c)),
                c if c.is_whitespace() => {}
                _ => names.extend(name.take().filter(|name| !name.is_empty())),
            }
        }
        names.extend(name);
    }
    names.retain(|name| !name.is_empty());
    names
}

/// How many `super` the longest chain has.
fn longest_super(code: &str) -> usize {
    let chain = |at: usize| code[at..].split("::").take_while(|part| *part == "super").count();
    places(code, "super").map(chain).max().unwrap_or(0)
}

fn violations(folder: &Path, table: &[Arrows]) -> Vec<String> {
    let is_room = |name: &String| table.iter().any(|(room, _)| room == name);
    let mut found = Vec::new();
    for source in sources(folder, table) {
        let (_, allowed) = table.iter().find(|(room, _)| *room == source.room).expect("from the table");
        let mut imports: BTreeSet<String> = names_behind(&source.code, "crate").into_iter().filter(is_room).collect();
        if table == SHELL {
            imports.extend(names_behind(&source.code, "artimesh_core"));
        }
        for import in imports {
            let by_core = allowed.contains(&"core") && ALL_OF_CORE.contains(&&*import);
            if import != source.room && !allowed.contains(&&*import) && !by_core {
                found.push(format!("{}: {} may not import {import}", source.shown, source.room));
            }
        }
        // An inline module is one level deeper.
        let inline = usize::from(source.code.lines().any(|line| line.starts_with("mod ") && line.ends_with('{')));
        if longest_super(&source.code) >= source.depth + inline {
            found.push(format!("{}: leaves its room by `super`; say `crate::room`", source.shown));
        }
    }
    found
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{} violations:\n  {}", found.len(), found.join("\n  "));
}

#[test]
fn every_room_stands_in_the_table_and_on_the_disk() {
    for (folder, table, besides) in [("src", SHELL, &["core"][..]), ("src/core", CORE, &[])] {
        let named: BTreeSet<String> = table.iter().map(|(room, _)| (*room).to_owned()).collect();
        let mut there = rooms(&root().join(folder));
        besides.iter().for_each(|room| assert!(there.remove(*room), "{folder}/{room} is missing"));
        assert_eq!(there, named, "{folder}");
    }
}

#[test]
fn the_table_has_no_cycle() {
    for table in [CORE, SHELL] {
        for (index, (room, allowed)) in table.iter().enumerate() {
            let above: Vec<&str> = table[..index].iter().map(|(room, _)| *room).chain(["core"]).collect();
            let is_above = |import: &&&str| above.contains(*import) || table == SHELL && ALL_OF_CORE.contains(*import);
            assert_eq!(allowed.iter().find(|import| !is_above(import)), None, "{room} imports what stands below it");
        }
    }
}

#[test]
fn rooms_of_the_core_import_only_what_the_table_allows() {
    assert_none(&violations(&root().join("src/core"), CORE));
}

#[test]
fn rooms_of_the_shell_and_the_face_import_only_what_the_table_allows() {
    assert_none(&violations(&root().join("src"), SHELL));
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut found = Vec::new();
    for source in sources(&root().join("src"), SHELL) {
        for (foreign, homes) in FOREIGN {
            let named = |at: usize| {
                let is_import = source.code[..at].trim_end().ends_with("use");
                is_import || source.code[at + foreign.len()..].starts_with("::")
            };
            if !homes.contains(&&*source.room) && places(&source.code, foreign).any(named) {
                found.push(format!("{}: names {foreign}, whose rooms are {homes:?}", source.shown));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn the_core_depends_on_what_is_listed_and_on_nothing_else() {
    let manifest = fs::read_to_string(root().join("src/core/Cargo.toml")).expect("the core's manifest");
    let section = |name: &str| -> Vec<String> {
        let body = manifest.split(&format!("[{name}]\n")).nth(1).unwrap_or("");
        let lines = body.lines().take_while(|line| !line.starts_with('['));
        let name = |line: &str| line.split(['.', '=']).next().unwrap_or("").trim().to_owned();
        lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')).map(name).collect()
    };
    assert_eq!(section("dependencies"), CORE_DEPENDENCIES);
    assert!(!manifest.contains("[target") && !manifest.contains("build-dependencies"), "no other kind of dependency");
}

#[test]
fn the_core_mentions_no_clock_no_dice_and_no_outside_world() {
    let mut found = Vec::new();
    for source in sources(&root().join("src/core"), CORE) {
        for word in NOT_IN_CORE {
            // `use std::{fs, …}` and `std::collections::HashMap` are later parts of a path: look for the last part alone.
            let last = word.rsplit("::").next().unwrap_or(word);
            let is_there = match word.strip_prefix("std::") {
                Some(part) => names_behind(&source.code, "std").iter().any(|name| name == part),
                None => source.code.match_indices(last).any(|(at, _)| {
                    let before = source.code[..at].chars().next_back().is_some_and(is_word);
                    let after = source.code[at + last.len()..].chars().next().is_some_and(is_word);
                    !before && !after
                }),
            };
            if is_there {
                found.push(format!("{}: mentions {word}", source.shown));
            }
        }
    }
    assert_none(&found);
}

#[test]
fn the_reader_of_imports_sees_what_there_is_to_see() {
    let code = without_comments(
        "use crate::store::{Batch, Store};\nuse crate::{http, service::{self, Caller}, swarm};\n// crate::cli\n\
         fn f() { crate::node::run(); xcrate::config::x(); }",
    );
    assert_eq!(names_behind(&code, "crate"), ["store", "http", "service", "swarm", "node"]);
    assert_eq!(longest_super("use super::super::x; super::y()"), 2);
    assert_eq!(places("index::sled::X sled::Y unsled", "sled").count(), 1);
}
