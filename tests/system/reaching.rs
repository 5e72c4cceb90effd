//! How the command line reaches nodes elsewhere: by https, and by profiles.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Address, Setup, command};
use crate::http::Site;

/// An authority that no machine knows.
struct Authority {
    certificate: Certificate,
    key: KeyPair,
    folder: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "an authority of tests");
        let certificate = params.self_signed(&key).expect("signed");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("written");
        Authority { certificate, key, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// Writes a server's certificate and key.
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        change(&mut params);
        let made = params.signed_by(&key, &self.certificate, &self.key).expect("signed");
        fs::write(self.file("cert.pem"), made.pem()).expect("written");
        fs::write(self.file("key.pem"), key.serialize_pem()).expect("written");
    }

    /// A node that has it.
    fn setup(&self) -> Setup {
        Setup::default()
            .with("ARTIMESH_HTTP_TLS_CERTIFICATE", &self.file("cert.pem"))
            .with("ARTIMESH_HTTP_TLS_KEY", &self.file("key.pem"))
    }
}

fn address(site: &Site) -> SocketAddr {
    site.client().address
}

fn token_file(site: &Site) -> String {
    site.node.folder.join("admin.token").to_string_lossy().into_owned()
}

fn run(home: &Path, variables: &[(&str, &str)], args: &[&str]) -> Output {
    command(home).envs(variables.iter().copied()).args(args).output().expect("it runs")
}

fn succeed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a failure says.
fn fail(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn https_works_for_whom_the_authority_is_known_to() {
    let authority = Authority::new();
    authority.issue("localhost", |_| {});
    let site = Site::new(authority.setup());
    let (home, ca, token) = (site.root.path(), authority.file("ca.pem"), token_file(&site));
    let url = format!("https://localhost:{}", address(&site).port());
    let file = site.file(&[7; 3_000_000]);
    let by = ["--url", &url, "--token-file", &token];
    let known = [&by[..], &["--ca-file", &ca]].concat();
    succeed(&run(home, &[], &[&["artifact", "put", "libs/x", &file], &known[..]].concat()));
    let back = home.join("back").to_string_lossy().into_owned();
    succeed(&run(home, &[("ARTIMESH_CA_FILE", &ca)], &[&["artifact", "get", "libs/x", &back], &by[..]].concat()));
    assert!(fs::read(&back).expect("it came") == [7; 3_000_000]);
    succeed(&run(home, &[("SSL_CERT_FILE", &ca)], &[&["status"], &by[..]].concat()));

    let unknown = fail(&run(home, &[], &[&["status"], &by[..]].concat()));
    assert!(unknown.contains("--ca-file"), "{unknown}");
    let none = fail(&run(home, &[], &[&["status", "--ca-file", &token], &by[..]].concat()));
    assert!(none.contains("holds no certificate"), "{none}");
    let by_number = format!("https://{}", address(&site));
    let wrong = ["status", "--url", &by_number, "--token-file", &token, "--ca-file", &ca];
    let wrong = fail(&run(home, &[], &wrong));
    assert!(wrong.contains("localhost") && wrong.contains("a name that its certificate has"), "{wrong}");
    let plain = Site::new(Setup::default());
    let plain_url = format!("https://{}", address(&plain));
    let plain_there = fail(&run(home, &[], &["status", "--url", &plain_url, "--ca-file", &ca]));
    assert!(plain_there.contains("isn't TLS") && plain_there.contains("write http://"), "{plain_there}");

    // A repository moves from one to the other.
    let from = format!("{url}/artifactory/libs");
    let import = ["import", "server", &from, "libs", "--json", "--source-token-file", &token, "--ca-file", &ca];
    let told: Value = serde_json::from_str(&plain.node.cli(&import, "")).expect("JSON");
    assert_eq!(told["files"], 1, "{told}");
    let unknown = plain.node.try_cli(&import[..7], "");
    assert!(fail(&unknown).contains("--ca-file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_over_is_told_as_such() {
    let authority = Authority::new();
    authority.issue("localhost", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let site = Site::new(authority.setup());
    let url = format!("https://localhost:{}", address(&site).port());
    let ca = authority.file("ca.pem");
    let expired = fail(&run(site.root.path(), &[], &["status", "--url", &url, "--ca-file", &ca]));
    assert!(expired.contains("expired") && expired.contains("renewed"), "{expired}");
    // On its own machine a node is known by its folder.
    site.node.cli(&["status"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_listens_elsewhere_is_found_by_its_folder_and_its_certificate() {
    let Some(there) = Address::new() else { return };
    let authority = Authority::new();
    authority.issue("elsewhere.example", |_| {});
    let mut site = Site::new(Setup::default());
    site.node.stop();
    let path = site.node.folder.join("artimesh.toml");
    let mut settings = fs::read_to_string(&path).expect("settings");
    for (name, example, file) in [("certificate", "tls/cert.pem", "cert.pem"), ("key", "tls/key.pem", "key.pem")] {
        let line = format!("# tls_{name} = \"{example}\"");
        assert!(settings.contains(&line), "{settings}");
        settings = settings.replace(&line, &format!("tls_{name} = \"{}\"", authority.file(file)));
    }
    fs::write(&path, settings).expect("written");
    site.node.set("ARTIMESH_HTTP_LISTEN", &format!("{}:0", there.0));
    site.node.start();
    // It answers, though it wants another token than the administrator's from there.
    let refused = fail(&site.node.try_cli(&["status"], ""));
    assert!(refused.contains("loopback"), "{refused}");
    let url = format!("http://{}", address(&site));
    let plain = fail(&run(site.root.path(), &[], &["status", "--url", &url]));
    assert!(plain.contains(&format!("write https://{}", address(&site))), "{plain}");
    authority.issue("elsewhere.example", |_| {});
    let another = fail(&site.node.try_cli(&["status"], ""));
    assert!(another.contains("another certificate") && another.contains("restart"), "{another}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_stands_for_an_address_a_token_and_an_authority() {
    let authority = Authority::new();
    authority.issue("localhost", |_| {});
    let (site, other) = (Site::new(authority.setup()), Site::new(Setup::default()));
    let home = site.root.path();
    let ca = authority.file("ca.pem");
    let (url, other_url) = (format!("https://localhost:{}", address(&site).port()), other.url(""));
    let nowhere = run(home, &[], &["status"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--profile"));

    // The token comes by standard input.
    let mut add = command(home);
    add.args(["profile", "add", "site", "--url", &url, "--ca-file", &ca, "--token-file", "-"]);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    std::io::Write::write_all(&mut add.stdin.take().expect("piped"), site.node.token().as_bytes()).expect("read");
    let told = succeed(&add.wait_with_output().expect("it ends"));
    assert!(told.contains("site is https://") && told.contains("default"), "{told}");
    let file = home.join(".config/artimesh/profiles.toml");
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().expect("a folder"))), (0o600, 0o700));

    // A token that the node doesn't take is told at once, and nothing is stored.
    let wrong = ["profile", "add", "other", "--url", &other_url, "--token-file", &token_file(&site)];
    assert!(fail(&run(home, &[], &wrong)).contains("--no-check"));
    assert!(
        fail(&run(home, &[], &["status", "--profile", "other"])).contains("there is no profile other: known are site")
    );
    succeed(&run(home, &[], &["profile", "add", "other", "--url", &other_url, "--token-file", &token_file(&other)]));

    let is = |variables: &[(&str, &str)], args: &[&str], expected: &Site| {
        let told = succeed(&run(home, variables, &[&["status", "--json"], args].concat()));
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!(told["http"]["address"], address(expected).to_string(), "{variables:?} {args:?}");
    };
    let data = other.node.folder.to_string_lossy().into_owned();
    is(&[], &[], &site);
    is(&[], &["--profile", "other"], &other);
    is(&[("ARTIMESH_PROFILE", "other")], &[], &other);
    is(&[("ARTIMESH_PROFILE", "other")], &["--profile", "site"], &site);
    is(&[("ARTIMESH_PROFILE", "site")], &["--data", &data], &other);
    is(&[("ARTIMESH_DATA", &data)], &["--profile", "site"], &site);
    is(&[("ARTIMESH_DATA", &data)], &[], &other);
    is(&[("ARTIMESH_TOKEN_FILE", "/nowhere")], &["--profile", "site"], &site);
    let two = run(home, &[], &["status", "--profile", "site", "--url", &url]);
    assert_eq!(two.status.code(), Some(2));

    succeed(&run(home, &[], &["profile", "use", "other"]));
    is(&[], &[], &other);
    for words in [&["profile", "list"][..], &["profile", "show", "site"], &["profile", "list", "--json"]] {
        let told = succeed(&run(home, &[], words));
        assert!(told.contains("site") && !told.contains("amt_"), "{told}");
    }
    succeed(&run(home, &[], &["profile", "remove", "other"]));
    assert_eq!(run(home, &[], &["status"]).status.code(), Some(2), "no default is left");

    // A node isn't disturbed by what is the command line's.
    let variables = [("ARTIMESH_PROFILE", "x"), ("ARTIMESH_CA_FILE", ca.as_str())];
    succeed(&run(home, &variables, &["config", "check", "--data", &data]));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("ours");
    assert!(fail(&run(home, &[], &["status", "--profile", "site"])).contains("chmod 600"));
    // Where the configuration is elsewhere, so are they.
    let elsewhere = home.join("elsewhere").to_string_lossy().into_owned();
    let told = succeed(&run(home, &[("XDG_CONFIG_HOME", &elsewhere)], &["profile", "list"]));
    assert!(told.contains("no profiles"), "{told}");
}
