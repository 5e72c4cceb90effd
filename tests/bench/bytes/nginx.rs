//! nginx as a peer: one worker a core, sendfile, an access log, and WebDAV for uploads.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::load::Target;

pub struct Nginx {
    child: Child,
    pub root: PathBuf,
    address: SocketAddr,
    /// Where it speaks HTTPS, if it was given a certificate.
    pub secured: SocketAddr,
}

impl Nginx {
    /// `None`, and a line that says so, when it isn't installed. With the files of a certificate and its key it speaks HTTPS, too.
    pub fn start(folder: &Path, certificate: Option<(&str, &str)>) -> Option<Nginx> {
        if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
            println!("nginx isn't installed: nothing to compare with (apt-get install nginx)");
            return None;
        }
        let root = folder.join("nginx");
        for name in ["files", "body", "log"] {
            fs::create_dir_all(root.join(name)).expect("ours");
        }
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (plain, tls) = (free(), free());
        let (address, secured) = (plain.local_addr().expect("bound"), tls.local_addr().expect("bound"));
        drop((plain, tls));
        let config = root.join("nginx.conf");
        fs::write(&config, configuration(&root, address, certificate.map(|files| (secured, files)))).expect("ours");
        let mut command = Command::new("nginx");
        command.arg("-e").arg(root.join("log/error.log")).arg("-p").arg(&root).arg("-c").arg(&config);
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("nginx runs");
        let nginx = Nginx { child, root, address, secured };
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(nginx)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn target(&self) -> Target {
        Target { address: self.address, base: "/files".into(), token: None, place: None }
    }

    /// Where it finds a file of `/files`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join("files").join(name)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends the workers on SIGTERM; SIGKILL would leave them.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn configuration(root: &Path, address: SocketAddr, secured: Option<(SocketAddr, (&str, &str))>) -> String {
    let root = root.display();
    let tls = secured.map_or_else(String::new, |(address, (certificate, key))| {
        format!("listen {address} ssl reuseport; ssl_certificate {certificate}; ssl_certificate_key {key};")
    });
    format!(
        "daemon off; master_process on; worker_processes auto; pid {root}/nginx.pid; user root;
         events {{ worker_connections 20000; }}
         http {{
           sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 600s;
           access_log {root}/log/access.log; default_type application/octet-stream;
           client_max_body_size 0; client_body_temp_path {root}/body;
           server {{ listen {address} reuseport; {tls} root {root};
             location /files {{ dav_methods PUT DELETE; create_full_put_path on; }} }}
         }}\n"
    )
}
