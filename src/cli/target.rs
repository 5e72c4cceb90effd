//! Which node a command talks to, and with which token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use hyper::Uri;

use super::command::Global;
use super::misuse::Misuse;
use crate::config::{FILE_NAME, KeyFileError, read_secret};

/// A node to talk to.
#[derive(Clone)]
pub(super) struct Target {
    /// `http://host:port`, without a slash at its end.
    pub(super) base: String,
    /// The access token; without one only public things answer.
    pub(super) token: Option<String>,
    /// What to say when nobody answers there.
    pub(super) nobody: String,
}

impl Target {
    /// Finds the node that `global` names: by its address, else by its data folder.
    ///
    /// # Errors
    /// [`Misuse`] when neither is given; else why the node or the token can't be found.
    pub(super) fn find(global: &Global) -> anyhow::Result<Target> {
        let given = global.token_file.as_deref().map(token).transpose()?;
        match (&global.url, &global.data) {
            (Some(url), _) => {
                Ok(Target { base: base(url)?, token: given, nobody: format!("no node answers at {url}") })
            }
            (None, Some(folder)) => Target::of_folder(folder, given),
            (None, None) => Err(Misuse("say which node: --data DIR for one on this machine, or --url URL").into()),
        }
    }

    fn of_folder(folder: &Path, given: Option<String>) -> anyhow::Result<Target> {
        let shown = folder.display();
        if !folder.join(FILE_NAME).exists() {
            bail!(
                "{shown} is not the data folder of a node: create one with `artimesh init --data {shown} --name NAME`"
            );
        }
        let nobody = format!("no node is running on {shown}: start it with `artimesh serve --data {shown}`");
        let path = folder.join("http.addr");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(anyhow!(nobody)),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let address: SocketAddr =
            text.trim().parse().with_context(|| format!("{} doesn't hold an address", path.display()))?;
        let token = match given {
            Some(token) => token,
            None => token(&folder.join("admin.token"))?,
        };
        Ok(Target { base: format!("http://{}", reachable(address)), token: Some(token), nobody })
    }
}

/// An address that is listened on everywhere is reached by the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn token(path: &Path) -> anyhow::Result<String> {
    let text = read_secret(path).map_err(|error| match error {
        KeyFileError::Missing { path } => anyhow!("there is no token file {}", path.display()),
        other => other.into(),
    })?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{} doesn't hold a token", path.display());
    }
    Ok(text)
}

fn base(url: &str) -> anyhow::Result<String> {
    if url.starts_with("https://") {
        bail!("{url}: https comes in a later version; use http, or --data DIR on the node's own machine");
    }
    let parsed: Uri = url.parse().with_context(|| format!("{url} is not an address"))?;
    let plain = parsed.scheme_str() == Some("http") && parsed.query().is_none() && !url.contains('@');
    let (Some(authority), true) = (parsed.authority(), plain) else {
        bail!("{url} is not the address of a node: write http://HOST:PORT");
    };
    match parsed.path().trim_end_matches('/') {
        "" | "/artifactory" => Ok(format!("http://{authority}")),
        _ => bail!("{url} has a path: write http://HOST:PORT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::write_new;

    fn global(data: Option<&Path>, url: Option<&str>) -> Global {
        Global { data: data.map(Path::to_owned), url: url.map(str::to_owned), token_file: None, json: false }
    }

    fn failure(global: &Global) -> String {
        Target::find(global).err().expect("must fail").to_string()
    }

    #[test]
    fn a_node_is_found_by_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let here = global(Some(folder.path()), None);
        assert!(failure(&here).contains("artimesh init"));
        write_new(&folder.path().join(FILE_NAME), b"", 0o644).unwrap();
        let shown = folder.path().display();
        let nobody = format!("no node is running on {shown}: start it with `artimesh serve --data {shown}`");
        assert_eq!(failure(&here), nobody);
        write_new(&folder.path().join("http.addr"), b"0.0.0.0:8082\n", 0o644).unwrap();
        assert!(failure(&here).contains("there is no token file"));
        write_new(&folder.path().join("admin.token"), b"amt_x\n", 0o600).unwrap();
        let target = Target::find(&here).unwrap();
        assert_eq!((target.base.as_str(), target.token.as_deref()), ("http://127.0.0.1:8082", Some("amt_x")));
    }

    #[test]
    fn an_address_beats_the_folder_and_takes_no_token_from_it() {
        let folder = tempfile::tempdir().unwrap();
        write_new(&folder.path().join("admin.token"), b"amt_x\n", 0o600).unwrap();
        let target = Target::find(&global(Some(folder.path()), Some("http://a.example:1/artifactory/"))).unwrap();
        assert_eq!((target.base.as_str(), target.token), ("http://a.example:1", None));
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_refused() {
        assert!(failure(&global(None, Some("https://a"))).contains("later version"));
        for bad in ["a:1", "ftp://a", "http://a/x", "http://u:p@a", "http://a?x"] {
            assert!(Target::find(&global(None, Some(bad))).is_err(), "{bad} was taken");
        }
        assert!(Target::find(&global(None, None)).err().unwrap().is::<Misuse>());
    }
}
