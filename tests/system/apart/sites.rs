//! Three members, each in a network namespace with a clock, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::last_words::LastWords;
use crate::harness::{Circle, Clock, Dice, Hub, Node, REPO, Setup, listing, sha256_hex, until};

pub const ALL: [usize; 3] = [0, 1, 2];
pub const HOUR_S: i64 = 3600;
/// So far from the true time at most: four minutes from each other.
const APART_S: u64 = 120;
const PATHS: u64 = 14;

pub struct Sites {
    pub circle: Circle,
    pub dice: Dice,
    pub said: LastWords,
    clocks: Vec<Clock>,
    hub: Hub,
    /// How far all clocks together are ahead of the true time.
    passed_s: i64,
    writes: u64,
    /// All that was ever put, by its SHA-256.
    contents: BTreeMap<String, String>,
    /// The versions that moves made.
    moved: BTreeSet<String>,
}

/// A folder as it was, and how much its node knew.
pub struct Copy {
    folder: PathBuf,
    agreements: u32,
}

impl Sites {
    /// `None`, and says so, where networks or clocks can't be had.
    pub async fn new(what: &str) -> Option<Sites> {
        let root = tempfile::tempdir().expect("a folder");
        let Some(hub) = Hub::with_places(3) else {
            println!("not tried: network namespaces need root and ip (Debian: iproute2)");
            return None;
        };
        let clocks: Option<Vec<Clock>> =
            ALL.iter().map(|site| Clock::in_file(&root.path().join(format!("clock-{site}")))).collect();
        let Some(clocks) = clocks else {
            println!("not tried: clocks of their own need libfaketime (Debian: libfaketime)");
            return None;
        };
        let node = |site: usize| {
            let place = Some(hub.place(site));
            let clock = Some(clocks[site].clone());
            let setup = Setup { new_circle: site == 0, place, clock, ..Setup::default() };
            Node::init(root.path(), &format!("site-{site}"), setup)
        };
        let nodes = ALL.map(node).into();
        let circle = Circle::of(nodes, 3, root).await;
        let (dice, said) = (Dice::fresh(what), LastWords::default());
        Some(Sites {
            circle,
            dice,
            said,
            clocks,
            hub,
            passed_s: 0,
            writes: 0,
            contents: BTreeMap::new(),
            moved: BTreeSet::new(),
        })
    }

    /// Every clock jumps to somewhere near.
    pub fn jump_apart(&mut self) {
        for clock in &self.clocks {
            let off = self.dice.below(2 * APART_S + 1) as i64 - APART_S as i64;
            clock.set(self.passed_s + off);
        }
        self.said.count("jumps of all clocks");
    }

    pub fn right_clocks(&self) {
        self.clocks.iter().for_each(|clock| clock.set(self.passed_s));
    }

    /// One clock, in seconds from what all others show.
    pub fn set_clock(&self, site: usize, ahead_s: i64) {
        self.clocks[site].set(self.passed_s + ahead_s);
    }

    /// Time goes by, at all sites.
    pub fn pass(&mut self, seconds: i64) {
        self.passed_s += seconds;
        for clock in &self.clocks {
            clock.set(clock.ahead_s() + seconds);
        }
    }

    /// Pulls the cable of one site, or of all.
    pub fn cut_some(&mut self) {
        match self.dice.below(4) {
            3 => ALL.iter().for_each(|site| self.hub.cut(*site)),
            site => self.hub.cut(site as usize),
        }
        self.said.count("cuts");
    }

    pub fn mend_all(&self) {
        ALL.iter().for_each(|site| self.hub.mend(*site));
    }

    /// So many writes at each site, in an order by lot.
    pub async fn write(&mut self, each: u64) {
        for _ in 0..3 * each {
            let site = self.dice.below(3) as usize;
            let path = format!("shared/{}", self.dice.below(PATHS));
            let done = match self.dice.below(10) {
                0..6 => {
                    self.writes += 1;
                    let content = format!("{} of site {site}", self.writes);
                    self.put(site, &path, content).await
                }
                6..8 => self.delete(site, &path).await,
                _ => {
                    let to = format!("shared/{}", self.dice.below(PATHS));
                    self.move_to(site, &path, &to).await
                }
            };
            self.said.count(if done { "writes" } else { "writes of what wasn't there" });
        }
    }

    /// Asks until there is an answer other than *not now*: a site that was set back first listens to others.
    async fn send(&self, site: usize, method: Method, path: &str, body: String) -> StatusCode {
        until(&format!("{path} at {site}"), || async {
            let answer = self.circle.nodes[site].client().send(method.clone(), path, &[], body.clone()).await?;
            let fine = answer.status.is_success() || answer.status == StatusCode::NOT_FOUND;
            assert!(fine || answer.status == StatusCode::SERVICE_UNAVAILABLE, "{path} at {site}: {}", answer.text());
            if fine { Ok(answer.status) } else { Err(answer.text()) }
        })
        .await
    }

    pub async fn put(&mut self, site: usize, path: &str, content: String) -> bool {
        let status = self.send(site, Method::PUT, &format!("/artifactory/{REPO}/{path}"), content.clone()).await;
        let sum = sha256_hex(content.as_bytes());
        self.contents.insert(sum, content.clone());
        self.said.said(site, path, Some(content));
        status == StatusCode::CREATED
    }

    async fn delete(&mut self, site: usize, path: &str) -> bool {
        let status = self.send(site, Method::DELETE, &format!("/artifactory/{REPO}/{path}"), String::new()).await;
        if status.is_success() {
            self.said.said(site, path, None);
        }
        status.is_success()
    }

    async fn move_to(&mut self, site: usize, path: &str, to: &str) -> bool {
        if path == to {
            return false;
        }
        let target = format!("/artifactory/api/move/{REPO}/{path}?to=/{REPO}/{to}");
        if !self.send(site, Method::POST, &target, String::new()).await.is_success() {
            return false;
        }
        let content = self.moved_content(site, path, to).await;
        self.said.said(site, to, Some(content));
        self.said.said(site, path, None);
        self.said.count("moves");
        true
    }

    /// What the site's move put there just now: asked of the history, for what was shown before may have been another
    /// version, and what is shown by now as well.
    async fn moved_content(&mut self, site: usize, path: &str, to: &str) -> String {
        let node = &self.circle.nodes[site];
        let target = format!("/artifactory/api/mesh/history/{REPO}/{to}");
        let history = node.client().get(&target).await.expect("an answer").json();
        let all = ["live", "history"].map(|part| history[part].as_array().expect("a list").iter());
        let text = |version: &Value, field: &str| version[field].as_str().map(str::to_owned);
        let mut fresh = all.into_iter().flatten().filter(|version| {
            let is_mine = version["node_name"] == node.name && version["moved_from"] == path;
            is_mine && text(version, "version").is_some_and(|version| !self.moved.contains(&version))
        });
        let (version, more) = (fresh.next().expect("the move's version"), fresh.next());
        assert!(more.is_none(), "two versions of one move: {history}");
        let sum = text(version, "sha256").expect("a sum");
        self.moved.insert(text(version, "version").expect("a version"));
        self.contents[&sum].clone()
    }

    async fn get(&self, site: usize, path: &str) -> Option<String> {
        let got =
            self.circle.nodes[site].client().get(&format!("/artifactory/{REPO}/{path}")).await.expect("an answer");
        assert!(got.status == StatusCode::OK || got.status == StatusCode::NOT_FOUND, "{}", got.text());
        (got.status == StatusCode::OK).then(|| got.text())
    }

    /// Per path that has more than one live version: those versions, the shown one first, and what they hold.
    fn siblings(&self, site: usize) -> BTreeMap<String, Vec<[String; 3]>> {
        let told = self.circle.nodes[site].cli(&["conflict", "list", REPO, "--json"], "");
        let listed: Value = serde_json::from_str(&told).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let version = |live: &Value| ["version", "state", "sha256"].map(|field| text(&live[field]));
        let each = |conflict: &Value| {
            let live = conflict["live"].as_array().expect("a list").iter().map(version).collect();
            (text(&conflict["path"]), live)
        };
        let all = listed["conflicts"].as_array().expect("a list").iter().map(each);
        all.filter(|(_, live): &(String, Vec<[String; 3]>)| live.len() > 1).collect()
    }

    /// Waits until all have equal heads, digests, listings and siblings; then each path must show a last word.
    pub async fn agree(&mut self) {
        self.circle.converged().await;
        let [first, second, third] = ALL.map(|site| self.siblings(site));
        assert!(first == second && second == third, "siblings differ: {first:?} {second:?} {third:?}");
        self.said.count_more("siblings compared", first.values().map(|live| live.len() as u64 - 1).sum());
        for (path, words) in self.said.paths() {
            for site in ALL {
                let shown = self.get(site, path).await;
                assert!(words.contains(&&shown), "{path} shows {shown:?} at {site}, but the last words are {words:?}");
            }
        }
        self.said.agreed();
    }

    /// Copies a site's folder while it stands still.
    pub fn copy(&mut self, site: usize) -> Copy {
        let node = &mut self.circle.nodes[site];
        node.stop();
        let folder = node.folder.with_extension("copy");
        let _ = std::fs::remove_dir_all(&folder);
        let copied = Command::new("cp").arg("-a").args([&node.folder, &folder]).status().expect("cp runs");
        assert!(copied.success(), "cp -a");
        node.start();
        Copy { folder, agreements: self.said.agreements() }
    }

    /// Kills a site and puts the copy in its folder's place.
    pub async fn set_back(&mut self, site: usize, copy: Copy) {
        let node = &mut self.circle.nodes[site];
        let before = listing(node).await;
        node.kill();
        std::fs::remove_dir_all(&node.folder).expect("ours");
        std::fs::rename(&copy.folder, &node.folder).expect("ours");
        node.start();
        self.said.set_back(site, copy.agreements);
        self.said.count("restored copies");
        let node = &self.circle.nodes[site];
        until("it has again what it had", || async {
            let now = listing(node).await;
            if now == before { Ok(()) } else { Err(format!("{} paths of {}", now.len(), before.len())) }
        })
        .await;
    }
}
