//! Tests of the words themselves: what parses, and which exit code follows; and of calls as a node sees them.

use clap::CommandFactory as _;
use serde_json::{Value, json};

use super::*;
use crate::cli::client::Client;
use crate::cli::fake_node::{FakeNode, answer};
use crate::cli::flags::SettingFlags;
use crate::cli::tls::Tls;
use crate::config::KEYS;

const SEAMS: Seams = Seams { serve: |_, _, _| Ok(()), write_founding: |_, _, _, _| Ok(()) };

fn parse(words: &str) -> Result<Cli, i32> {
    let words = std::iter::once("artimesh").chain(words.split_whitespace());
    Cli::read(words.map(OsString::from)).map_err(|error| error.exit_code())
}

fn exit_code(words: &str) -> u8 {
    run_with(std::iter::once("artimesh").chain(words.split_whitespace()).map(OsString::from), &SEAMS)
}

#[test]
fn the_command_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_parses() {
    for words in [
        "init --data d --name berlin",
        "init --data d --name berlin --new-circle --root-key r --http 127.0.0.1:0",
        "serve --data d --http 127.0.0.1:0 --swarm /ip4/127.0.0.1/tcp/0 --bulk /ip4/127.0.0.1/tcp/0 --gossip false",
        "serve --data d --alone",
        "serve --data d --anonymous-read --log-level debug",
        "status --json",
        "--data d status",
        "config check",
        "config show --file f",
        "doctor",
        "pair create --role full",
        "pair create --role edge --for a,b --ttl 5m --can admit,revoke",
        "pair accept",
        "pair accept --from f",
        "pair accept --token-file-in f",
        "trust list",
        "trust revoke paris --wait 10s",
        "repo create libs",
        "repo create libs --federated --member paris,oslo --member rome",
        "repo create libs --member paris",
        "repo list",
        "repo show libs",
        "repo delete libs",
        "import tree f libs",
        "import tree f libs/a --checksum --rate-limit 10MiB --jobs 4 --dry-run --json",
        "import server http://old.example/artifactory/libs/a libs/b --source-token-file - --source-user bob",
        "artifact put libs/a f",
        "artifact put libs/a -",
        "artifact get libs/a",
        "artifact get libs/a -",
        "artifact ls libs",
        "artifact ls libs/a/",
        "artifact rm libs/a",
        "artifact rm -r libs/a",
        "artifact rm -r libs",
        "artifact mkdir libs/a",
        "artifact move libs other/",
        "artifact history libs/a/",
        "artifact rm libs/a --recursive",
        "artifact move libs/a libs/b/c",
        "artifact copy libs/a other/b --dry-run",
        "artifact properties libs/a",
        "artifact properties libs/a --set k=v,w --set x=y --remove z",
        "artifact restore libs/a 00.00.1",
        "conflict restore libs/a 00.00.1",
        "conflict list libs",
        "conflict list libs --limit 5",
        "conflict show libs/a",
        "artifact history libs/a --limit 5",
        "rollback --author paris --since 2h",
        "rollback --user eve --author paris --since 2026-11-21T21:47:00Z --repo libs --dry-run",
        "conflict dismiss libs/a",
        "conflict dismiss libs/a 00.00.1 00.00.2",
        "repo configure libs --description x --package-type maven",
        "federation invite libs paris",
        "federation remove libs paris",
        "federation sync libs",
        "federation sync libs --member paris --dry-run",
        "federation checkpoint libs",
        "federation checkpoint libs --wait --timeout 5s",
        "artifact stat libs/a",
        "backup --to f",
        "backup --to - --url http://a:1",
        "restore --from f --data d",
        "restore --from - --dry-run",
        "version",
        "profile add a --url https://a.example --token-file - --ca-file f --no-check",
        "profile list --json",
        "profile show a",
        "profile use a",
        "profile remove a",
        "status --profile a",
        "import server https://old.example/artifactory/libs libs --ca-file f",
    ] {
        assert!(parse(words).is_ok(), "{words}");
    }
}

#[test]
fn misuse_is_exit_code_2_and_help_is_0() {
    for words in [
        "",
        "frobnicate",
        "init --data d",
        "init --data d --name Berlin",
        "init --name a --data d --root-key r",
        "pair create",
        "pair create --role king",
        "pair create --role edge --ttl 5",
        "pair create --role edge --can fly",
        "pair accept TOKEN",
        "repo create a/b",
        "repo create libs --member",
        "artifact get libs/../x",
        "trust revoke",
        "artifact get a//b",
        "artifact properties libs/a --set k",
        "import tree f libs --rate-limit 0",
        "import tree f libs --jobs 0",
        "import server http://old.example/libs libs",
        "import server http://old.example/artifactory/a libs --source-user bob",
        "artifact move libs/a",
        "profile add",
        "rollback --since 2h",
        "rollback --author paris",
        "rollback --author paris --since yesterday",
        "repo configure libs",
        "--token amt_x status",
    ] {
        assert_eq!(parse(words).err(), Some(2), "{words}");
    }
    assert_eq!(parse("--help").err(), Some(0));
    assert_eq!(parse("--version").err(), Some(0));
}

#[test]
fn failures_are_exit_code_1_and_success_is_0() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node").display().to_string();
    assert_eq!(exit_code("version --json"), 0);
    assert_eq!(exit_code(&format!("serve --data {data}")), 1, "not initialised");
    assert_eq!(exit_code(&format!("init --data {data} --name berlin --http nowhere")), 1);
    assert_eq!(exit_code(&format!("init --data {data} --name berlin")), 0);
    assert_eq!(exit_code(&format!("init --data {data} --name berlin")), 1, "initialised already");
    assert_eq!(exit_code(&format!("config check --data {data}")), 0);
    assert_eq!(exit_code(&format!("config show --json --data {data}")), 0);
    assert_eq!(exit_code(&format!("status --data {data}")), 1, "no node is running");
    assert_eq!(exit_code("artifact stat libs/a --url https://127.0.0.1:1"), 1);
}

#[test]
fn settings_given_as_flags_arrive_under_their_keys() {
    let Ok(Cli { command: Command::Serve(serve), .. }) = parse("serve --data d --gossip --http 127.0.0.1:1") else {
        panic!("doesn't parse");
    };
    let SettingFlags(given) = serve.settings();
    let given: Vec<_> = given.iter().map(|given| (given.key, given.value.as_str())).collect();
    assert_eq!(given, [("http.listen", "127.0.0.1:1"), ("swarm.gossip", "true")]);
}

#[test]
fn every_flag_of_the_key_table_is_a_flag_of_serve_and_of_init() {
    let command = Cli::command();
    for name in ["serve", "init"] {
        let command = command.find_subcommand(name).unwrap();
        for key in KEYS.iter().filter(|key| key.flag.is_some()) {
            assert!(command.get_arguments().any(|arg| arg.get_long() == key.flag), "{name} has no --{:?}", key.flag);
        }
    }
}

/// Runs `words` against a node that answers `status` and `body`; returns the outcome and what the node was asked.
async fn ask(words: &str, status: u16, body: &'static str) -> (anyhow::Result<()>, Vec<(String, Value)>) {
    let node = FakeNode::start(move |_| answer(status, &[], body)).await;
    let cli = parse(&format!("{words} --json --url {}", node.base)).expect("parses");
    let outcome = match cli.command {
        Command::Status => status::run(&cli.global).await,
        Command::Pair(command) => pair::run(&cli.global, &command).await,
        Command::Trust(command) => trust::run(&cli.global, &command).await,
        Command::Repo(command) => repo::run(&cli.global, &command).await,
        Command::Artifact(command) => artifact::run(&cli.global, &command).await,
        Command::Federation(command) => federation::run(&cli.global, &command).await,
        Command::Conflict(command) => conflict::run(&cli.global, &command).await,
        Command::Rollback(command) => rollback::run(&cli.global, &command).await,
        Command::Gc(command) => gc::run(&cli.global, &command).await,
        Command::Scrub(command) => scrub::run(&cli.global, &command).await,
        other => panic!("{other:?} doesn't talk to a node"),
    };
    let asked = node.asked();
    let line = |asked: &crate::cli::fake_node::Asked| format!("{} {}", asked.method, asked.target);
    let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
    (outcome, asked.iter().map(|asked| (line(asked), json(&asked.body))).collect())
}

#[tokio::test]
async fn each_command_asks_what_the_contract_says() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, " pairing-token\n").unwrap();
    let accept = format!("pair accept --from {}", token.display());
    let mesh = "/artifactory/api/mesh";
    let cases = [
        ("status", format!("GET {mesh}/status"), Value::Null),
        ("gc --dry-run", format!("POST {mesh}/gc"), json!({"dry_run": true, "grace_s": null})),
        ("scrub --detach --rate 2MiB", format!("POST {mesh}/scrub"), json!({"bytes_per_s": 2 << 20})),
        ("gc --grace 2h", format!("POST {mesh}/gc"), json!({"dry_run": false, "grace_s": 7200})),
        (
            "pair create --role edge --for a,b --ttl 90s --can admit",
            format!("POST {mesh}/pairing"),
            json!({"role": "edge", "for": ["a", "b"], "ttl_s": 90, "can": ["admit"]}),
        ),
        (
            "pair create --role full --readmit paris",
            format!("POST {mesh}/pairing"),
            json!({"role": "full", "for": [], "ttl_s": 300, "can": [], "readmit": "paris"}),
        ),
        (&*accept, format!("POST {mesh}/pairing/accept"), json!({"pairing_token": "pairing-token"})),
        ("trust list", format!("GET {mesh}/trust"), Value::Null),
        (
            "trust revoke paris --wait 1500ms",
            format!("POST {mesh}/trust/revoke"),
            json!({"node": "paris", "wait_s": 2}),
        ),
        (
            "repo create libs --member paris,oslo --member rome",
            "PUT /artifactory/api/repositories/libs".into(),
            json!({"key": "libs", "rclass": "federated", "packageType": "generic", "members": [{"node": "paris"}, {"node": "oslo"}, {"node": "rome"}]}),
        ),
        ("repo list", "GET /artifactory/api/repositories".into(), Value::Null),
        ("repo show libs", "GET /artifactory/api/repositories/libs".into(), Value::Null),
        ("repo delete libs", "DELETE /artifactory/api/repositories/libs".into(), Value::Null),
        (
            "repo configure libs --description new",
            "POST /artifactory/api/repositories/libs".into(),
            json!({"description": "new"}),
        ),
        ("federation invite libs oslo", format!("POST {mesh}/federation/libs/invite"), json!({"node": "oslo"})),
        ("federation remove libs oslo", format!("POST {mesh}/federation/libs/remove"), json!({"node": "oslo"})),
        ("conflict list libs --limit 7", format!("GET {mesh}/conflicts/libs?limit=7&after="), Value::Null),
        ("conflict show libs/a", format!("GET {mesh}/conflicts/libs/a"), Value::Null),
        ("artifact history libs/a", format!("GET {mesh}/history/libs/a?limit=100"), Value::Null),
        (
            "rollback --user eve --since 2026-11-21 --repo libs --dry-run",
            format!("POST {mesh}/rollback/libs"),
            json!({"author": null, "user": "eve", "since": "2026-11-21", "dry_run": true, "after": null}),
        ),
        ("conflict restore libs/a v", format!("POST {mesh}/restore/libs/a"), json!({"version": "v"})),
        ("conflict dismiss libs/a v w", format!("POST {mesh}/dismiss/libs/a"), json!({"versions": ["v", "w"]})),
        (
            "artifact move libs/a libs/b --dry-run",
            "POST /artifactory/api/move/libs/a?to=/libs/b&dry=1".into(),
            Value::Null,
        ),
        ("artifact rm --recursive libs/a/b", "DELETE /artifactory/libs/a/b".into(), Value::Null),
        ("artifact stat libs/a/b", "GET /artifactory/api/storage/libs/a/b".into(), Value::Null),
        ("artifact ls libs/a", "GET /artifactory/api/storage/libs/a?list&deep=1".into(), Value::Null),
    ];
    for (words, line, body) in cases {
        let (outcome, asked) = ask(words, 200, r#"{"pairing_token":"x"}"#).await;
        outcome.unwrap_or_else(|error| panic!("{words}: {error}"));
        assert_eq!(asked, [(line, body)], "{words}");
    }
}

#[tokio::test]
async fn an_answer_of_text_or_of_nothing_is_fine() {
    assert!(ask("repo create libs", 200, "Successfully created repository 'libs'").await.0.is_ok());
    assert!(ask("artifact rm libs/a", 204, "").await.0.is_ok());
}

#[tokio::test]
async fn a_revocation_that_was_waited_for_in_vain_fails() {
    let answer = r#"{"node": "paris", "acknowledged": [], "pending": ["oslo"]}"#;
    assert!(ask("trust revoke paris", 200, answer).await.0.is_ok());
    let error = ask("trust revoke paris --wait 1s", 200, answer).await.0.unwrap_err();
    assert!(error.to_string().contains("1 have not acknowledged"), "{error}");
}

#[tokio::test]
async fn a_refusal_without_the_usual_shape_names_the_call() {
    let error = ask("repo list", 503, "<html>").await.0.unwrap_err();
    assert_eq!(error.to_string(), "GET /artifactory/api/repositories: the node answered 503 Service Unavailable");
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let target =
        crate::cli::target::Target { base, token: None, tls: Tls::none(), nobody: "no node is running".into() };
    let error = Client::new(target).call(hyper::Method::GET, "/", None).await.unwrap_err();
    assert!(matches!(&error, CallError::Nobody(text) if text == "no node is running"), "{error}");
}
