//! Tests of `init` on real folders.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::config::read_secret;

fn founding(folder: &Path, name: &NodeName, root: &KeyPair, _: &Keys) -> anyhow::Result<()> {
    Ok(write_new(&folder.join("circle.founding"), format!("{name} {}", root.public()).as_bytes(), 0o644)?)
}

fn broken_founding(_: &Path, _: &NodeName, _: &KeyPair, _: &Keys) -> anyhow::Result<()> {
    bail!("no ink")
}

fn global(folder: &Path) -> Global {
    Global { data: Some(folder.to_owned()), json: true, ..Global::default() }
}

fn command(new_circle: bool) -> Init {
    let flag = Given { key: "http.listen", value: "127.0.0.1:9999".into() };
    Init { name: "berlin".parse().unwrap(), new_circle, root_key: None, settings: SettingFlags(vec![flag]) }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_folder_holds_configuration_keys_and_token_for_its_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("berlin");
    run(&global(&folder), &command(false), founding).unwrap();
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("keys")), 0o700);
    Keys::load(&folder).unwrap();
    let token = read_secret(&folder.join("admin.token")).unwrap();
    assert!(token.starts_with("amt_") && token.len() == 56, "{token}");
    let settings = load(Some(&folder.join(FILE_NAME)), [], &[]).unwrap().settings;
    assert_eq!((settings.node.name.as_str(), settings.http.listen.port()), ("berlin", 9999));
    assert!(!folder.join("circle.founding").exists() && !folder.join("circle-root.key").exists());
}

#[test]
fn a_new_circle_has_a_root_key_of_its_own_and_a_founding() {
    let folder = tempfile::tempdir().unwrap();
    run(&global(folder.path()), &command(true), founding).unwrap();
    let root = read_secret(&folder.path().join("circle-root.key")).unwrap();
    let root = KeyPair::from_secret(&artimesh_core::model::parse_hex(&root).unwrap());
    let written = std::fs::read_to_string(folder.path().join("circle.founding")).unwrap();
    assert_eq!(written, format!("berlin {}", root.public()));
}

#[test]
fn a_second_init_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    run(&global(folder.path()), &command(false), founding).unwrap();
    let before = Keys::load(folder.path()).unwrap().log.public();
    let error = run(&global(folder.path()), &command(false), founding).unwrap_err();
    assert!(error.to_string().contains("initialised already"), "{error}");
    assert_eq!(Keys::load(folder.path()).unwrap().log.public(), before);
}

#[test]
fn a_folder_with_other_things_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    let error = run(&global(folder.path()), &command(false), founding).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_failed_init_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("berlin");
    let mut command = command(true);
    command.root_key = Some(parent.path().join("root.key"));
    let error = run(&global(&folder), &command, broken_founding).unwrap_err();
    assert!(format!("{error:#}").contains("no ink"));
    assert_eq!(parent.path().read_dir().unwrap().count(), 0);
}

#[test]
fn an_interrupted_init_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    let error = run(&global(folder.path()), &command(false), founding).unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
}

#[test]
fn an_existing_root_key_file_is_not_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let mut command = command(true);
    command.root_key = Some(parent.path().join("root.key"));
    std::fs::write(parent.path().join("root.key"), "precious").unwrap();
    assert!(run(&global(&parent.path().join("berlin")), &command, founding).is_err());
    assert_eq!(std::fs::read(parent.path().join("root.key")).unwrap(), b"precious");
    assert!(!parent.path().join("berlin").exists());
}

#[test]
fn wrong_settings_are_refused_before_anything_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let mut command = command(false);
    command.settings.0[0].value = "nowhere".into();
    let error = run(&global(&parent.path().join("berlin")), &command, founding).unwrap_err();
    assert!(error.to_string().contains("flag --http"), "{error}");
    assert_eq!(parent.path().read_dir().unwrap().count(), 0);
}
