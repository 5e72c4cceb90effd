//! Downloads that break off go on where they were, and what they make is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Dice, Proxy, Setup, command, sha256_hex, until};
use crate::http::Site;

const MIB: usize = 1 << 20;
const SIZE: usize = 40 * MIB;

/// A node with a large artifact, a proxy before it, and a folder to download to.
struct World {
    site: Site,
    proxy: Proxy,
    bytes: Vec<u8>,
    folder: PathBuf,
}

impl World {
    async fn new() -> World {
        let site = Site::new(Setup::default());
        let bytes = Dice(5).bytes(SIZE);
        assert_eq!(site.put("/artifactory/libs/d/large", &bytes).status, 201);
        let proxy = Proxy::new(site.client().address).await;
        let folder = site.root.path().join("to");
        fs::create_dir(&folder).expect("made");
        World { site, proxy, bytes, folder }
    }

    fn target(&self) -> PathBuf {
        self.folder.join("large")
    }

    /// Downloads by the proxy.
    fn get(&self, what: &str, to: &Path) -> Command {
        self.get_from(&self.proxy.url(), what, to)
    }

    fn get_from(&self, url: &str, what: &str, to: &Path) -> Command {
        let mut command = command(self.site.root.path());
        command.args(["artifact", "get", what]).arg(to).args(["--json", "--url", url, "--token-file"]);
        command.arg(self.site.node.folder.join("admin.token")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Begins a download that is killed when 24 MiB are there.
    async fn broken(&self, what: &str, to: &Path) {
        self.proxy.stall_after(24 * MIB as u64);
        let mut child = self.get(what, to).spawn().expect("it runs");
        self.has_part(20 * MIB).await;
        kill(&mut child);
        self.proxy.open();
        self.proxy.sent();
    }

    async fn has_part(&self, bytes: usize) -> PathBuf {
        until("a part grows", || async {
            let parts = self.parts();
            let size = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
            let largest = parts.into_iter().max_by_key(size).ok_or("no part")?;
            if size(&largest) >= bytes as u64 { Ok(largest) } else { Err(format!("{} bytes", size(&largest))) }
        })
        .await
    }

    fn parts(&self) -> Vec<PathBuf> {
        names(&self.folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "part")).collect()
    }

    /// The file is there as it should be, and nothing else.
    fn is_whole(&self, bytes: &[u8]) {
        assert!(fs::read(self.target()).expect("it is there") == bytes);
        assert_eq!(names(&self.folder), [self.target()]);
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

fn kill(child: &mut Child) {
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

fn succeed(output: Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_was_killed_goes_on_where_it_was() {
    let world = World::new().await;
    world.broken("libs/d/large", &world.target()).await;
    let parts = world.parts();
    let name = parts[0].file_name().expect("a name").to_string_lossy().into_owned();
    assert!(name.starts_with(".large.") && name.contains(&sha256_hex(&world.bytes)), "{name}");
    let told = succeed(world.get("libs/d/large", &world.target()).output().expect("it runs"));
    assert!(told["resumed"].as_u64().expect("a number") >= 20 * MIB as u64, "{told}");
    let sent = world.proxy.sent();
    assert!(sent < 21 * MIB as u64, "{sent} bytes came once more");
    world.is_whole(&world.bytes);
    // By the node's own books too: the first was cut short, the second asked for the rest.
    let audit = world.site.node.cli(&["audit", "--json", "--path", "libs/d/large"], "");
    let audit: Value = serde_json::from_str(&audit).expect("JSON");
    let downloads = audit["records"].as_array().expect("lines").iter().filter(|line| line["status"] == 206);
    let bytes: Vec<u64> = downloads.map(|line| line["bytes"].as_u64().expect("a number")).collect();
    assert!(bytes.len() == 1 && bytes[0] <= 20 * MIB as u64, "{bytes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_on_in_the_middle_of_a_large_file() {
    let world = World::new().await;
    assert_eq!(world.site.put("/artifactory/libs/d/small", b"small").status, 201);
    world.broken("libs/d/", &world.folder).await;
    succeed(world.get("libs/d/", &world.folder).output().expect("it runs"));
    let sent = world.proxy.sent();
    assert!(sent < 21 * MIB as u64, "{sent} bytes came once more");
    assert!(fs::read(world.target()).expect("it is there") == world.bytes);
    assert_eq!(names(&world.folder).iter().filter(|path| path.ends_with("small")).count(), 1);
    assert!(world.parts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_again_and_again_is_no_failure() {
    let world = World::new().await;
    world.proxy.cut_after(7 * MIB as u64);
    succeed(world.get("libs/d/large", &world.target()).output().expect("it runs"));
    world.is_whole(&world.bytes);
    let sent = world.proxy.sent();
    assert!(sent < 44 * MIB as u64, "{sent} bytes for {SIZE}");
    let output = world.get("libs/d/large", Path::new("-")).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == world.bytes);
    // A small one leaves nothing behind, and goes on as well.
    let small = world.bytes[..3 * MIB].to_vec();
    assert_eq!(world.site.put("/artifactory/libs/small", &small).status, 201);
    world.proxy.cut_after(MIB as u64);
    succeed(world.get("libs/small", &world.target()).output().expect("it runs"));
    world.is_whole(&small);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_what_was_replaced_or_damaged_is_thrown_away() {
    let world = World::new().await;
    world.broken("libs/d/large", &world.target()).await;
    let part = world.parts().remove(0);
    let mut damaged = fs::read(&part).expect("it is there");
    damaged[MIB] ^= 1;
    fs::write(&part, damaged).expect("written");
    let told = succeed(world.get("libs/d/large", &world.target()).output().expect("it runs"));
    assert_eq!(told["resumed"], 0, "the rest came, was wrong with it, and all came anew");
    world.is_whole(&world.bytes);

    fs::remove_file(world.target()).expect("removed");
    world.broken("libs/d/large", &world.target()).await;
    let other = Dice(6).bytes(SIZE - MIB);
    assert_eq!(world.site.put("/artifactory/libs/d/large", &other).status, 201);
    let told = succeed(world.get("libs/d/large", &world.target()).output().expect("it runs"));
    assert_eq!(told["resumed"], 0);
    world.is_whole(&other);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replaced_while_it_is_downloaded_comes_as_it_is_now() {
    let world = World::new().await;
    world.proxy.stall_after(24 * MIB as u64);
    let child = world.get("libs/d/large", &world.target()).spawn().expect("it runs");
    world.has_part(20 * MIB).await;
    let other = Dice(6).bytes(SIZE);
    assert_eq!(world.site.put("/artifactory/libs/d/large", &other).status, 201);
    world.proxy.cut_after(24 * MIB as u64);
    succeed(child.wait_with_output().expect("it ends"));
    world.is_whole(&other);

    // What went to standard output can't be taken back.
    world.proxy.sent();
    world.proxy.stall_after(24 * MIB as u64);
    let child = world.get("libs/d/large", Path::new("-")).spawn().expect("it runs");
    let reading = tokio::task::spawn_blocking(|| child.wait_with_output().expect("it ends"));
    until("it stalls", || async { if world.proxy.is_stalled() { Ok(()) } else { Err("it goes on".to_owned()) } }).await;
    assert_eq!(world.site.put("/artifactory/libs/d/large", &world.bytes).status, 201);
    world.proxy.cut_after(24 * MIB as u64);
    let output = reading.await.expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("was replaced while it was downloaded"), "{told}");
    assert!(other.starts_with(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_leave_each_other_alone() {
    let world = World::new().await;
    world.proxy.stall_after(24 * MIB as u64);
    let first = world.get("libs/d/large", &world.target()).spawn().expect("it runs");
    let part = world.has_part(20 * MIB).await;
    let second = world.get_from(&world.site.url(""), "libs/d/large", &world.target());
    let told = succeed({ second }.output().expect("it runs"));
    assert_eq!(told["resumed"], 0);
    assert!(fs::read(world.target()).expect("it is there") == world.bytes);
    assert!(part.exists(), "the first one still writes it");
    world.proxy.open();
    succeed(first.wait_with_output().expect("it ends"));
    world.is_whole(&world.bytes);
}
