//! Tests of loading: golden transcripts of faults, precedence, and the table against itself.

use std::collections::BTreeSet;

use super::*;

/// Loads `file` (none if empty), `variables` and `flags`, and shows the outcome with the folder's path taken out.
fn transcript(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> String {
    match attempt(file, variables, flags) {
        Ok(_) => "fine".to_owned(),
        Err(faults) => faults,
    }
}

fn attempt(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    std::fs::write(&path, file).unwrap();
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let flags: Vec<_> = flags.iter().map(|(key, value)| Given { key, value: (*value).to_owned() }).collect();
    let loaded = load((!file.is_empty()).then_some(path.as_path()), variables, &flags);
    loaded.map_err(|faults| faults.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn all_faults_of_all_layers_are_told_at_once_with_their_sources() {
    let file = r#"
[node]
name = "Berlin"

[http]
listen = "localhost:8082"
lisen = "127.0.0.1:1"
max_connections = 0

[stor]
quota = "1GiB"

[swarm]
listen = ["/ip4/127.0.0.1/udp/1"]
gossip = 3
advertise = [1, 2]

[unheard_of]
"#;
    let variables = [
        ("ARTIMESH_HTTP_LISTEN", "127.0.0.1"),
        ("ARTIMESH_STORE_QOTA", "1GiB"),
        ("ARTIMESH_FROBNICATION_OF_THE_WHOLE", "1"),
        ("ARTIMESH_DATA", "x"),
        ("ARTIMESH_LOG", "x"),
        ("PATH", "x"),
    ];
    let flags = [("log.format", "xml"), ("store.reserve", "lots")];
    assert_eq!(
        transcript(file, &variables, &flags),
        r#"14 faults in the configuration:
  node.name = "Berlin" (artimesh.toml:3)
    allowed: 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends
  http.listen = "localhost:8082" (artimesh.toml:6)
    allowed: an IP address and a port, such as 127.0.0.1:8082 or [::]:8082
  http.lisen is not known (artimesh.toml:7)
    did you mean http.listen?
  http.max_connections = 0 (artimesh.toml:8)
    allowed: a whole number from 1 to 1000000
  stor.quota is not known (artimesh.toml:11)
    did you mean store.quota?
  swarm.listen = ["/ip4/127.0.0.1/udp/1"] (artimesh.toml:14)
    allowed: a list of /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT
  swarm.gossip = 3 (artimesh.toml:15)
    allowed: true or false
  swarm.advertise = [1, 2] (artimesh.toml:16)
    allowed: a list of addresses that others can dial: /ip4, /ip6 or /dns, then /HOST/tcp/PORT, port not 0
  unheard_of is not known (artimesh.toml:18)
  ARTIMESH_FROBNICATION_OF_THE_WHOLE is not known (environment variable ARTIMESH_FROBNICATION_OF_THE_WHOLE)
  ARTIMESH_STORE_QOTA is not known (environment variable ARTIMESH_STORE_QOTA)
    did you mean ARTIMESH_STORE_QUOTA?
  http.listen = "127.0.0.1" (environment variable ARTIMESH_HTTP_LISTEN)
    allowed: an IP address and a port, such as 127.0.0.1:8082 or [::]:8082
  log.format = "xml" (flag --log-format)
    allowed: text or json
  store.reserve = "lots" (flag --reserve)
    allowed: 1MiB to 16TiB, in bytes or with KiB, MiB, GiB or TiB, such as 64MiB"#
    );
}

#[test]
fn a_certificate_and_its_key_are_set_together() {
    let one = "node.name = \"berlin\"\nhttp.tls_key = \"key.pem\"";
    assert_eq!(
        transcript(one, &[], &[]),
        r#"1 fault in the configuration:
  http.tls_key = "key.pem" (artimesh.toml:2)
    HTTPS needs a certificate and its key (http.tls_certificate is not set)"#
    );
    let loaded = attempt(one, &[("ARTIMESH_HTTP_TLS_CERTIFICATE", "/etc/cert.pem")], &[]).unwrap();
    assert_eq!(loaded.settings.http.tls, Some(("/etc/cert.pem".into(), "key.pem".into())));
}

#[test]
fn impossible_combinations_blame_what_somebody_set() {
    let file = r#"
node.name = "berlin"
store = { quota = "128MiB" }

[http]
listen = "0.0.0.0:8083"

[swarm]
bulk_listen = []
advertise_bulk = "/dns/berlin.example/tcp/8084"
"#;
    assert_eq!(
        transcript(file, &[], &[]),
        r#"4 faults in the configuration:
  store.quota = "128MiB" (artimesh.toml:3)
    the reserve has to be smaller than the quota (store.reserve = "256MiB", default)
  store.quota = "128MiB" (artimesh.toml:3)
    a pack has to be smaller than the quota (store.pack_size = "256MiB", default)
  http.listen = "0.0.0.0:8083" (artimesh.toml:6)
    both would listen on one port: give each its own (swarm.listen = ["/ip4/127.0.0.1/tcp/8083"], default)
  swarm.advertise_bulk = ["/dns/berlin.example/tcp/8084"] (artimesh.toml:10)
    nothing is listened on that could be advertised (swarm.bulk_listen = [], artimesh.toml:9)"#
    );
}

#[test]
fn a_faulty_value_takes_no_part_in_combinations() {
    let flags = [("node.name", "berlin"), ("store.quota", "1MiB")];
    assert_eq!(
        transcript("", &[], &flags),
        r#"1 fault in the configuration:
  store.quota = "1MiB" (flag --quota)
    allowed: none, or at least 16MiB, in bytes or with KiB, MiB, GiB or TiB, such as 200GiB"#
    );
}

#[test]
fn a_file_that_is_not_toml_does_not_hide_the_other_layers() {
    let file = "[node]\nname = \"berlin\"\n[http\nlisten = 1\n";
    assert_eq!(
        transcript(file, &[("ARTIMESH_HTTP_LISTEN", "x")], &[]),
        r#"2 faults in the configuration:
  not TOML (artimesh.toml:3)
    unclosed table, expected `]`
  http.listen = "x" (environment variable ARTIMESH_HTTP_LISTEN)
    allowed: an IP address and a port, such as 127.0.0.1:8082 or [::]:8082"#
    );
}

#[test]
fn a_missing_file_is_a_fault() {
    let missing = std::path::Path::new("/nowhere/artimesh.toml");
    let faults = load(Some(missing), [], &[Given { key: "node.name", value: "a".into() }]).unwrap_err();
    assert!(matches!(&faults.0[..], [Fault { problem: Problem::Unreadable { .. }, .. }]));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "node.name = 'berlin'\nhttp.listen = '127.0.0.1:2'\nlog.format = 'json'\nlog.level = 'warn'\n";
    let variables = [("ARTIMESH_HTTP_LISTEN", "127.0.0.1:3"), ("ARTIMESH_LOG_FORMAT", "text")];
    let loaded = attempt(file, &variables, &[("http.listen", "127.0.0.1:4")]).unwrap();
    assert_eq!(loaded.settings.http.listen.port(), 4);
    assert_eq!(loaded.settings.log.format, crate::config::LogFormat::Text);
    assert_eq!(loaded.settings.log.level, "warn");
    assert_eq!(loaded.settings.shutdown.grace.as_secs(), 30);
    let sources =
        |name| loaded.origins.iter().find(|origin| origin.key.name == name).map(|origin| origin.source.clone());
    assert_eq!(sources("http.listen"), Some(Source::Flag("--http".into())));
    assert_eq!(sources("log.format"), Some(Source::Variable("ARTIMESH_LOG_FORMAT".into())));
    assert!(matches!(sources("log.level"), Some(Source::File { line: Some(4), .. })));
    assert_eq!(sources("shutdown.grace"), Some(Source::Default));
}

#[test]
fn a_value_that_loses_is_still_checked() {
    let flags = [("node.name", "berlin"), ("http.listen", "127.0.0.1:1")];
    let shown = transcript("", &[("ARTIMESH_HTTP_LISTEN", "nowhere")], &flags);
    assert!(shown.starts_with("1 fault"), "{shown}");
}

#[test]
fn the_defaults_are_what_the_documentation_promises() {
    let settings = attempt("", &[], &[("node.name", "berlin")]).unwrap().settings;
    assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8082");
    assert_eq!(settings.http.max_upload, 1 << 40);
    assert_eq!(settings.swarm.listen, ["/ip4/127.0.0.1/tcp/8083"]);
    assert_eq!(settings.swarm.bulk_listen, ["/ip4/127.0.0.1/tcp/8084"]);
    assert!(settings.swarm.gossip && settings.swarm.advertise.is_empty() && !settings.http.anonymous_read);
    assert_eq!(settings.store.quota, None);
    assert_eq!(settings.store.reserve, 256 << 20);
    assert_eq!(settings.replication.accept_federations, crate::config::Accept::Any);
}

/// That every key is used by one setting is asserted by `Settings::from_values`, which every load runs.
#[test]
fn the_table_is_sound() {
    let mut names = BTreeSet::new();
    let mut flags = BTreeSet::new();
    for key in KEYS {
        assert!(names.insert(key.name), "{} twice", key.name);
        assert!(names.insert(&*key.variable().leak()), "{} collides", key.variable());
        assert!(key.flag.is_none_or(|flag| flags.insert(flag)), "--{:?} twice", key.flag);
        assert!(!OTHER_VARIABLES.contains(&key.variable().as_str()));
        assert!(key.doc.ends_with('.') && !key.doc.contains("  "), "{}: one paragraph", key.name);
        let shape = key
            .name
            .split('.')
            .all(|part| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        assert!(shape && key.name.split('.').count() == 2, "{}", key.name);
        for text in key.default.iter().chain([&key.example]) {
            assert!(key.kind.check(&Raw::Text((*text).to_owned())).is_ok(), "{} = {text}", key.name);
        }
        assert!(!key.required || key.default.is_none(), "{} is required and has a default", key.name);
    }
    let listen = KEYS.iter().find(|key| key.name == "http.listen").unwrap();
    assert_eq!(listen.variable(), "ARTIMESH_HTTP_LISTEN");
}
