//! rsync's daemon as a peer.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::machine::timed;

pub struct Rsync {
    daemon: Child,
    source: String,
    copy: PathBuf,
}

impl Rsync {
    /// A daemon that offers a folder; `None`, and a line that says so, when it isn't installed.
    pub fn offering(folder: &Path, root: &Path) -> Option<Rsync> {
        if Command::new("rsync").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("rsync isn't installed: nothing to compare with (apt-get install rsync)");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let config = root.join("rsyncd.conf");
        let text = format!("use chroot = no\nuid = root\ngid = root\n[files]\npath = {}\n", folder.display());
        fs::write(&config, text).expect("ours");
        let mut command = Command::new("rsync");
        command.args(["--daemon", "--no-detach", "--address", "127.0.0.1", "--port", &port.to_string(), "--config"]);
        let daemon = command.arg(&config).spawn().expect("rsync runs");
        let rsync = Rsync { daemon, source: format!("rsync://127.0.0.1:{port}/files/"), copy: root.join("copy") };
        let answers = || {
            let asked = Command::new("rsync").arg(&rsync.source).stdout(Stdio::null()).stderr(Stdio::null()).status();
            asked.is_ok_and(|status| status.success())
        };
        while !answers() {
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(rsync)
    }

    /// Carries everything into an empty folder; seconds.
    pub fn carry(&self, is_synced: bool) -> f64 {
        fs::remove_dir_all(&self.copy).ok();
        let mut command = Command::new("rsync");
        command.arg("-a").args(is_synced.then_some("--fsync")).arg(&self.source).arg(&self.copy);
        let (took, status) = timed(|| command.status().expect("rsync runs"));
        assert!(status.success(), "rsync");
        took
    }
}

impl Drop for Rsync {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
