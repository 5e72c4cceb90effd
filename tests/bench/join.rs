//! A new member joins a federation: two processes in network namespaces, whose cable counts every byte; beside them rsync,
//! which carries the same files as a daemon.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Circle, Client, Dice, Hub, Node, REPO, Setup, repository};
use crate::table::{Table, grouped, rss_anon_mib};

const SIZE: usize = 1024;
/// Uploads at once.
const HANDS: u64 = 64;

pub async fn run(count: u64, table: &mut Table) {
    let Some(hub) = Hub::with_places(2) else {
        println!("join: not measured: network namespaces need root and ip");
        return;
    };
    let root = tempfile::tempdir().expect("a folder");
    let files = root.path().join("files");
    write_files(&files, count);
    let setup = |new_circle, place| Setup { new_circle, place: Some(hub.place(place)), ..Setup::default() };
    let setup = |new_circle, place| setup(new_circle, place).with("ARTIMESH_LOG_LEVEL", "warn");
    let author = Node::init(root.path(), "author", setup(true, 0));
    let newcomer = Node::init(root.path(), "newcomer", setup(false, 1));
    let mut circle = Circle::of(vec![author, newcomer], 2, root).await;
    // Away while everything is written, so that it has all of it before it.
    circle.nodes[1].stop();
    let started = Instant::now();
    upload(&circle.nodes[0], &files, count).await;
    let rate = (count as f64 / started.elapsed().as_secs_f64()) as u64;
    let artifacts = format!("{} artifacts of 1 KiB", grouped(count));
    table.row(&format!("{artifacts}, uploaded over HTTP"), format!("{}/s", grouped(rate)), "");

    let before = on_the_wire(&hub);
    let (took, peak_mib) = join(&mut circle, count).await;
    let carried = on_the_wire(&hub) - before;
    let per_artifact = |bytes: u64| format!("{} bytes per artifact", bytes / count);
    table.row(&format!("a new member gets {artifacts}"), seconds(took), "");
    table.row("– on the wire, Ethernet and all", per_artifact(carried), "");
    table.row("– its peak RssAnon", format!("{peak_mib} MiB"), "");

    match rsync(&hub, circle.root.path(), &files) {
        Some((rsync_took, rsync_carried)) => {
            table.row("rsync carries the same files", seconds(rsync_took), "");
            table.row("– on the wire", per_artifact(rsync_carried), "");
            let ratio = |ours: f64, theirs: f64| format!("{:.2} ×", ours / theirs);
            table.row("joining ÷ rsync, time", ratio(took.as_secs_f64(), rsync_took.as_secs_f64()), "");
            table.row("joining ÷ rsync, bytes", ratio(carried as f64, rsync_carried as f64), "");
        }
        None => println!("rsync isn't installed: nothing to compare with"),
    }
}

/// What went over the newcomer's cable so far, both ways, with all headers.
fn on_the_wire(hub: &Hub) -> u64 {
    let counters = ["rx_bytes", "tx_bytes"].map(|way| format!("/sys/class/net/cable/statistics/{way}"));
    let shown = hub.place(1).command("cat").args(counters).output().expect("cat runs");
    let shown = String::from_utf8(shown.stdout).expect("numbers");
    shown.lines().map(|line| line.parse::<u64>().expect("a number")).sum()
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn name(number: u64) -> String {
    format!("{}/{}/{number}.bin", number % 100, number / 100 % 100)
}

fn write_files(folder: &Path, count: u64) {
    for number in 0..count {
        let file = folder.join(name(number));
        fs::create_dir_all(file.parent().expect("in a folder")).expect("ours");
        fs::write(file, Dice(number).bytes(SIZE)).expect("room on the disk");
    }
}

async fn upload(node: &Node, files: &Path, count: u64) {
    let mut hands = tokio::task::JoinSet::new();
    for hand in 0..HANDS {
        let (client, files) = (node.client(), files.to_owned());
        hands.spawn(async move {
            for number in (hand..count).step_by(HANDS as usize) {
                put(&client, &files, number).await;
            }
        });
    }
    while let Some(ended) = hands.join_next().await {
        ended.expect("no panic");
    }
}

async fn put(client: &Client, files: &Path, number: u64) {
    let bytes = fs::read(files.join(name(number))).expect("just written");
    let answer = client.put(&format!("/artifactory/{REPO}/{}", name(number)), bytes).await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Starts the newcomer; the time until it has everything, and its greatest RssAnon on the way, in MiB.
async fn join(circle: &mut Circle, count: u64) -> (Duration, u64) {
    let started = Instant::now();
    circle.nodes[1].start();
    let process = circle.nodes[1].pid();
    let sampled = tokio::spawn(async move {
        let mut peak = 0;
        loop {
            let now = rss_anon_mib(process);
            if now == 0 {
                return peak;
            }
            peak = peak.max(now);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    loop {
        let status = circle.nodes[1].status().await.expect("a status");
        let here = repository(&status, REPO).unwrap_or_default();
        if here["artifacts"] == count && here["missing_blobs"] == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let took = started.elapsed();
    circle.converged().await;
    circle.nodes[1].stop();
    (took, sampled.await.expect("no panic"))
}

/// A daemon at the first place, a client at the second; the time and the bytes. `None` without rsync.
fn rsync(hub: &Hub, root: &Path, files: &Path) -> Option<(Duration, u64)> {
    Command::new("rsync").arg("--version").stdout(Stdio::null()).status().ok()?;
    let (here, there) = (hub.place(0), hub.place(1));
    let config = root.join("rsyncd.conf");
    let text = format!("use chroot = no\nuid = root\ngid = root\n[files]\npath = {}\n", files.display());
    fs::write(&config, text).expect("ours");
    let daemon =
        here.command("rsync").args(["--daemon", "--no-detach", "--port", "8873", "--config"]).arg(&config).spawn();
    let mut daemon = daemon.expect("rsync runs");
    let source = format!("rsync://{}:8873/files/", here.address);
    let answers = || {
        let asked = there.command("rsync").arg(&source).stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    while !answers() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let before = on_the_wire(hub);
    let started = Instant::now();
    let status = there.command("rsync").arg("-a").arg("--fsync").arg(&source).arg(root.join("copy")).status();
    let took = started.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "rsync");
    let carried = on_the_wire(hub) - before;
    daemon.kill().and_then(|()| daemon.wait()).expect("ours");
    Some((took, carried))
}
