//! Clients that people have, unmodified: what one writes at one site, it reads at another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use crate::harness::{Circle, Dice, Node, REPO, Setup, until};

/// Python with the clients in it. The first who asks has it made.
pub fn python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(made).clone()
}

fn made() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/clients.sh");
    let output = Command::new(script).arg(&folder).output().expect("bash is there");
    assert!(output.status.success(), "scripts/clients.sh: {}", String::from_utf8_lossy(&output.stderr));
    folder.join("bin/python")
}

fn url(node: &Node) -> String {
    format!("http://{}/artifactory", node.client().address)
}

/// Runs `tests/clients/<name>` with two sites and the repository that they share.
async fn run(name: &str) {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
    let mut command = Command::new(python());
    command.arg(script);
    for node in &circle.nodes {
        command.args([url(node), node.token()]);
    }
    let output = command.arg(REPO).env("NO_PROXY", "*").output().expect("python is there");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("ok\n"), "{name}:\n{said}\n{complained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_clients_write_at_one_site_and_read_at_another() {
    run("dohq.py").await;
    run("pyart.py").await;
}

/// A download that broke off halfway is finished by the tool's own means, at the site that wasn't written to.
#[tokio::test(flavor = "multi_thread")]
async fn what_broke_off_is_resumed_by_curl_and_wget() {
    let circle = Circle::new(2, 0, Setup::default()).await;
    let body = Dice(5).bytes(3_000_000);
    let path = format!("/artifactory/{REPO}/large.bin");
    circle.nodes[0].client().put(&path, body.clone()).await.expect("an answer");
    circle.converged().await;
    let (node, folder) = (&circle.nodes[1], circle.root.path());
    let (link, header) = (format!("{}/{REPO}/large.bin", url(node)), format!("Authorization: Bearer {}", node.token()));
    for (tool, args) in [
        ("curl", vec!["-sS", "--fail", "--noproxy", "*", "-C", "-", "-H", &header, "-o"]),
        ("wget", vec!["-q", "-c", "--no-proxy", "--header", &header, "-O"]),
    ] {
        let file = folder.join(tool);
        fs::write(&file, &body[..1_234_567]).expect("a part");
        let Ok(output) = Command::new(tool).args(&args).arg(&file).arg(&link).output() else {
            println!("{tool} isn't here: nothing is tried with it");
            continue;
        };
        assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(&file).expect("a file") == body, "{tool} made something else of it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_puts_many_files_at_once() {
    const FILES: usize = 10_000;
    let circle = Circle::new(2, 0, Setup::default()).await;
    let (node, folder) = (&circle.nodes[0], circle.root.path().join("many"));
    fs::create_dir(&folder).expect("a folder");
    let mut config = format!("header = \"Authorization: Bearer {}\"\nsilent\nfail\nshow-error\n", node.token());
    for number in 0..FILES {
        let file = folder.join(number.to_string());
        fs::write(&file, Dice(number as u64 + 1).bytes(500)).expect("a file");
        config += &format!(
            "upload-file = \"{}\"\nurl = \"{}/{REPO}/many/{number}\"\noutput = \"/dev/null\"\n",
            file.display(),
            url(node)
        );
    }
    let config_file = circle.root.path().join("curl.config");
    fs::write(&config_file, config).expect("written");
    let start = Instant::now();
    let output = Command::new("curl")
        .args(["--noproxy", "*", "--parallel", "--config"])
        .arg(&config_file)
        .output()
        .expect("curl is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{FILES} files after {:.1} s", start.elapsed().as_secs_f64());
    until("all are at the other site", || async {
        let listed = circle.nodes[1].client().get(&format!("/artifactory/api/storage/{REPO}/many?list")).await?.json();
        let count = listed["files"].as_array().map_or(0, Vec::len);
        if count == FILES { Ok(()) } else { Err(format!("{count} of {FILES}")) }
    })
    .await;
    println!("all at the other site after {:.1} s", start.elapsed().as_secs_f64());
}
