//! Downloads, warm: over plain HTTP, and over HTTPS.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Wish;
use super::harness::{Circle, Dice, Setup};
use super::load::Target;
use super::machine::{cpu_seconds, random_file, timed};
use super::nginx::Nginx;
use super::report::{Report, Row, by_turns};

/// Seconds of one turn.
const TURN: u32 = 4;
const CONNECTIONS: u32 = 64;

/// A server, and the process whose work is counted.
struct Side {
    target: Target,
    process: u32,
    scheme: &'static str,
}

impl Side {
    fn url(&self, path: &str) -> String {
        self.target.url(self.scheme, path)
    }
}

pub async fn run(wish: &Wish, report: &mut Report) {
    let circle = Circle::new(1, 0, Setup::default().with("ARTIMESH_LOG", "warn")).await;
    let Some(nginx) = Nginx::start(circle.root.path(), None) else { return };
    let (ours, theirs) = sides(&circle, &nginx, "http");
    offer_small(&ours, &nginx);
    for (name, floor) in [("1k", 1.15), ("64k", 1.05), ("1m", 1.05)] {
        many(wish, report, (&ours, &theirs), name, floor);
    }
    offer_large(wish, &circle, &ours, &nginx);
    large(wish, report, (&ours, &theirs), 4, (0.9, Some(1.05)));
    large(wish, report, (&ours, &theirs), 1, (0.8, Some(1.0)));
    copying(wish, report, (&ours, &theirs), 1, 1.0);
}

/// The same inside of TLS. There is no client that costs nothing: what it takes to decrypt is taken from the server's cores.
pub async fn run_secured(wish: &Wish, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = certificate(folder.path());
    let setup = Setup::default().with("ARTIMESH_LOG", "warn");
    let setup = setup.with("ARTIMESH_HTTP_TLS_CERTIFICATE", &certificate).with("ARTIMESH_HTTP_TLS_KEY", &key);
    let circle = Circle::new(1, 0, setup).await;
    let Some(nginx) = Nginx::start(circle.root.path(), Some((&certificate, &key))) else { return };
    let (ours, theirs) = sides(&circle, &nginx, "https");
    offer_small(&ours, &nginx);
    for (name, floor) in [("1k", 1.2), ("64k", 1.5), ("1m", 1.5)] {
        many(wish, report, (&ours, &theirs), name, floor);
    }
    offer_large(wish, &circle, &ours, &nginx);
    copying(wish, report, (&ours, &theirs), 4, 1.5);
    copying(wish, report, (&ours, &theirs), 1, 1.5);
}

fn certificate(folder: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).expect("ours");
    fs::write(&key, made.key_pair.serialize_pem()).expect("ours");
    (certificate.display().to_string(), key.display().to_string())
}

fn sides(circle: &Circle, nginx: &Nginx, scheme: &'static str) -> (Side, Side) {
    let node = &circle.nodes[0];
    let ours = Side { target: Target::of(node), process: node.pid(), scheme };
    let address = if scheme == "https" { nginx.secured } else { nginx.target().address };
    let target = Target { address, ..nginx.target() };
    (ours, Side { target, process: nginx.pid(), scheme })
}

/// Uploads go by plain HTTP: on this machine a node takes both.
fn offer_small(ours: &Side, nginx: &Nginx) {
    for (name, bytes) in [("1k", 1 << 10), ("64k", 64 << 10), ("1m", 1 << 20)] {
        let body = Dice(bytes as u64).bytes(bytes);
        ours.target.connect().put(&format!("/{name}"), &body);
        fs::write(nginx.file(name), &body).expect("ours");
    }
}

fn offer_large(wish: &Wish, circle: &Circle, ours: &Side, nginx: &Nginx) {
    let path = circle.root.path().join("large");
    random_file(&path, wish.size);
    ours.target.connect().put_file("/large", &[], &File::open(&path).expect("just written"), wish.size);
    fs::rename(&path, nginx.file("large")).expect("ours");
}

/// Requests a second by wrk, and the server's processor time for each.
fn many(wish: &Wish, report: &mut Report, (ours, theirs): (&Side, &Side), name: &str, floor: f64) {
    let (mut cost, mut their_cost) = (Vec::new(), Vec::new());
    let (here, there, watch) = by_turns(
        wish.rounds,
        |_| {
            let (rate, micros) = wrk(ours, name);
            cost.push(micros);
            rate
        },
        |_| {
            let (rate, micros) = wrk(theirs, name);
            their_cost.push(micros);
            rate
        },
    );
    let (cost, their_cost) = (super::report::median(cost), super::report::median(their_cost));
    report.push(Row {
        what: format!("GET of {name} at {CONNECTIONS} connections, {}", ours.scheme),
        unit: "/s",
        ours: here,
        peer: "nginx".into(),
        theirs: Some(there),
        floor: Some(floor),
        aim: None,
        note: format!("{cost:.1} µs of processor each, nginx {their_cost:.1}; {}", watch.note()),
    });
}

fn wrk(side: &Side, name: &str) -> (f64, f64) {
    let mut command = Command::new("wrk");
    command.args(["-t2", &format!("-c{CONNECTIONS}"), &format!("-d{TURN}s")]);
    if let Some(token) = &side.target.token {
        command.arg("-H").arg(format!("Authorization: Bearer {token}"));
    }
    let before = cpu_seconds(side.process);
    let output = command.arg(side.url(&format!("/{name}"))).output().expect("wrk (apt-get install wrk)");
    let used = cpu_seconds(side.process) - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "{text}");
    let field = |name: &str| text.lines().find(|line| line.contains(name)).map(str::to_owned).unwrap_or_default();
    let rate = field("Requests/sec:").split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a rate");
    let requests = field("requests in").split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    (rate, used * 1e6 / requests.expect("a count"))
}

fn large(
    wish: &Wish,
    report: &mut Report,
    (ours, theirs): (&Side, &Side),
    clients: u64,
    (floor, aim): (f64, Option<f64>),
) {
    let gib = wish.size as f64 / (1u64 << 30) as f64;
    let fetch = |side: &Side| {
        let target = &side.target;
        let (took, ()) = timed(|| {
            std::thread::scope(|scope| {
                for _ in 0..clients {
                    // Twice each, so that a turn takes long enough to be measured.
                    scope.spawn(move || {
                        let mut connection = target.connect();
                        (0..4).for_each(|_| assert_eq!(connection.get_discarding("/large"), wish.size));
                    });
                }
            });
        });
        4.0 * clients as f64 * gib / took
    };
    let (before, their_before) = (cpu_seconds(ours.process), cpu_seconds(theirs.process));
    let (here, there, watch) = by_turns(wish.rounds, |_| fetch(ours), |_| fetch(theirs));
    let moved = 4.0 * clients as f64 * gib * (wish.rounds + 1) as f64;
    let (cost, their_cost) =
        ((cpu_seconds(ours.process) - before) / moved, (cpu_seconds(theirs.process) - their_before) / moved);
    report.push(Row {
        what: format!("{gib:.1} GiB × {clients}, thrown away on arrival"),
        unit: "GiB/s",
        ours: here,
        peer: "nginx".into(),
        theirs: Some(there),
        floor: Some(floor),
        aim,
        note: format!("{cost:.2} s of processor per GiB, nginx {their_cost:.2}; {}", watch.note()),
    });
}

/// curl, so many at once; the certificate isn't checked, which is done once a connection and isn't what is measured.
fn copying(wish: &Wish, report: &mut Report, (ours, theirs): (&Side, &Side), clients: usize, floor: f64) {
    let gib = wish.size as f64 / (1u64 << 30) as f64;
    let start = |side: &Side| -> Child {
        let mut command = Command::new("curl");
        command.args(["-sfk", "--http1.1", "-o", "/dev/null"]).arg(side.url("/large")).stdout(Stdio::null());
        if let Some(token) = &side.target.token {
            command.arg("-H").arg(format!("Authorization: Bearer {token}"));
        }
        command.spawn().expect("curl")
    };
    let fetch = |side: &Side| {
        let (took, ()) = timed(|| {
            let running: Vec<Child> = (0..clients).map(|_| start(side)).collect();
            for mut client in running {
                assert!(client.wait().expect("curl").success(), "curl");
            }
        });
        clients as f64 * gib / took
    };
    let (before, their_before) = (cpu_seconds(ours.process), cpu_seconds(theirs.process));
    let (here, there, watch) = by_turns(wish.rounds, |_| fetch(ours), |_| fetch(theirs));
    let moved = clients as f64 * gib * (wish.rounds + 1) as f64;
    let (cost, their_cost) =
        ((cpu_seconds(ours.process) - before) / moved, (cpu_seconds(theirs.process) - their_before) / moved);
    report.push(Row {
        what: format!("{gib:.1} GiB × {clients} by curl, {}", ours.scheme),
        unit: "GiB/s",
        ours: here,
        peer: "nginx".into(),
        theirs: Some(there),
        floor: Some(floor),
        aim: None,
        note: format!("{cost:.2} s of processor per GiB, nginx {their_cost:.2}; {}", watch.note()),
    });
}
