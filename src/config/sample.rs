//! The commented file that `init` writes.

use super::fault::Source;
use super::load::Origin;
use super::parse::Raw;
use super::table::KEYS;

const HEAD: &str = "\
# Configuration of an Artimesh node.
#
# Every key stands here with its default, commented out: uncomment a line to change it. An environment variable beats
# this file, a flag beats both. `artimesh config check` reports everything that is wrong, `artimesh config show` what
# is in effect and why. Times have a unit (500ms, 30s, 5m, 1h, 1d); sizes are bytes or have one (64KiB, 1GiB).
";

/// The whole file, with the values of `origins` that aren't defaults filled in.
pub fn sample(origins: &[Origin]) -> String {
    let mut out = HEAD.to_owned();
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            out += &format!("\n[{section}]\n");
        } else {
            out.push('\n');
        }
        for line in wrapped(key.doc) {
            out += &format!("# {line}\n");
        }
        out += &format!("# Allowed: {}.\n", key.kind.allowed());
        let flag = key.flag.map(|flag| format!(", flag --{flag}")).unwrap_or_default();
        out += &format!("# Environment: {}{flag}.\n", key.variable());
        let set = origins.iter().find(|origin| origin.key.name == key.name && origin.source != Source::Default);
        let text = set.map(|origin| origin.value.to_string());
        let commented = || {
            let text = key.default.unwrap_or(key.example);
            let value = key.kind.check(&Raw::Text(text.to_owned())).expect("a test checks defaults and examples");
            if key.default.is_none() {
                return format!("# No default. For example:\n# {} = {value}\n", key.last());
            }
            format!("# {} = {value}\n", key.last())
        };
        out += &text.map(|text| format!("{} = {text}\n", key.last())).unwrap_or_else(commented);
    }
    out
}

/// `text` in lines of at most 110 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("starts with one line");
        if line.len() + word.len() + 1 > 110 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Given, load};

    fn example() -> String {
        let name = Given { key: "node.name", value: "berlin".into() };
        sample(&load(None, [], &[name]).expect("a name suffices").origins)
    }

    #[test]
    fn the_example_file_is_what_init_writes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/artimesh.example.toml");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, example()).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap();
        assert_eq!(committed, example(), "run this test with BLESS=1 and commit the file");
    }

    #[test]
    fn every_commented_line_can_be_uncommented() {
        let uncommented: String = example()
            .lines()
            .map(|line| {
                let is_setting = KEYS.iter().any(|key| line.starts_with(&format!("# {} = ", key.last())));
                let line = if is_setting { &line[2..] } else { line };
                format!("{line}\n")
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("artimesh.toml");
        std::fs::write(&path, uncommented).unwrap();
        let loaded = load(Some(&path), [], &[]).unwrap();
        assert!(loaded.origins.iter().all(|origin| origin.source != Source::Default));
    }
}
