//! Which node a command talks to, and with which token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use hyper::Uri;

use super::command::Global;
use super::misuse::Misuse;
use super::named::Named;
use super::tls::Tls;
use crate::config::{FILE_NAME, KeyFileError, Profile, Profiles, load, read_secret};

/// A node to talk to.
#[derive(Clone)]
pub(super) struct Target {
    /// `http://host:port` or `https://host`, without a slash at its end.
    pub(super) base: String,
    /// The access token; without one only public things answer.
    pub(super) token: Option<String>,
    /// Whom https believes.
    pub(super) tls: Tls,
    /// What to say when nobody answers there.
    pub(super) nobody: String,
}

impl Target {
    /// Finds the node that `global` names, else that of the default profile.
    ///
    /// # Errors
    /// [`Misuse`] when none is named, or two are; else why the node or the token can't be found.
    pub(super) fn find(global: &Global) -> anyhow::Result<Target> {
        Target::find_with(global, &Profiles::place(std::env::vars_os()))
    }

    /// The same with the profiles in a file, if there is a place for one.
    fn find_with(global: &Global, profiles: &Option<PathBuf>) -> anyhow::Result<Target> {
        let load = || profiles.as_deref().map_or_else(|| Ok(Profiles::default()), Profiles::load);
        match global.named()? {
            Some(Named::Url(url)) => Target::at(url, given(global)?, global.ca_file.as_deref()),
            Some(Named::Folder(folder)) => Target::of_folder(folder, given(global)?),
            Some(Named::Profile(name)) => Target::of_profile(global, load()?.get(name)?),
            None => match load()?.default_one()? {
                Some(profile) => Target::of_profile(global, profile),
                None => Err(Misuse(
                    "say which node: --data DIR for one on this machine, --url URL, or --profile NAME \
                     (see `artimesh profile --help`)",
                )
                .into()),
            },
        }
    }

    /// The node at an address.
    ///
    /// # Errors
    /// It isn't the address of a node, or the file none of certificates.
    pub(super) fn at(url: &str, token: Option<String>, ca_file: Option<&Path>) -> anyhow::Result<Target> {
        let base = base(url)?;
        let tls = Tls::for_base(&base, ca_file)?;
        Ok(Target { base, token, tls, nobody: format!("no node answers at {url}") })
    }

    /// A token that only the environment names isn't for a profile that was typed and has its own: it would be told to
    /// somebody else.
    fn of_profile(global: &Global, profile: &Profile) -> anyhow::Result<Target> {
        let is_typed = global.profile.is_some() && global.is_flag("profile");
        let token = match &profile.token {
            Some(token) if is_typed && !global.is_flag("token_file") => Some(token.clone()),
            own => given(global)?.or_else(|| own.clone()),
        };
        Target::at(&profile.url, token, global.ca_file.as_deref().or(profile.ca_file.as_deref()))
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
        let address = reachable(address);
        let (scheme, tls) = match certificate(folder) {
            // On loopback a node speaks both.
            Some(certificate) if !address.ip().is_loopback() => ("https", Tls::exactly(&certificate)?),
            _ => ("http", Tls::none()),
        };
        Ok(Target { base: format!("{scheme}://{address}"), token: Some(token), tls, nobody })
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

/// The certificate that the node of this folder shows, as far as its configuration can be read.
fn certificate(folder: &Path) -> Option<PathBuf> {
    let loaded = load(Some(&folder.join(FILE_NAME)), std::env::vars_os(), &[]).ok()?;
    loaded.settings.http.tls.map(|(certificate, _)| folder.join(certificate))
}

/// The token that the options name.
fn given(global: &Global) -> anyhow::Result<Option<String>> {
    global.token_file.as_deref().map(token).transpose()
}

/// Reads a token.
///
/// # Errors
/// There is no such file, others can read it, or it holds something else.
pub(super) fn token(path: &Path) -> anyhow::Result<String> {
    let text = read_secret(path).map_err(|error| match error {
        KeyFileError::Missing { path } => anyhow!("there is no token file {}", path.display()),
        other => other.into(),
    })?;
    if !is_token(&text) {
        bail!("{} doesn't hold a token", path.display());
    }
    Ok(text)
}

/// Whether a text can be one, in a header.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn base(url: &str) -> anyhow::Result<String> {
    let parsed: Uri = url.parse().with_context(|| format!("{url} is not an address"))?;
    let scheme = parsed.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
    let is_plain = parsed.query().is_none() && !url.contains('@');
    let (Some(scheme), Some(authority), true) = (scheme, parsed.authority(), is_plain) else {
        bail!("{url} is not the address of a node: write https://HOST[:PORT] or http://HOST:PORT");
    };
    match parsed.path().trim_end_matches('/') {
        "" | "/artifactory" => Ok(format!("{scheme}://{authority}")),
        _ => bail!("{url} has a path: write {scheme}://{authority}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::write_new;

    fn global(data: Option<&Path>, url: Option<&str>) -> Global {
        Global { data: data.map(Path::to_owned), url: url.map(str::to_owned), ..Global::default() }
    }

    fn failure(global: &Global) -> String {
        Target::find_with(global, &None).err().expect("must fail").to_string()
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
    fn an_address_takes_no_token_from_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        write_new(&folder.path().join("admin.token"), b"amt_x\n", 0o600).unwrap();
        let both = global(Some(folder.path()), Some("http://a.example:1/artifactory/"));
        assert!(failure(&both).contains("one of them"));
        let target = Target::find(&Global { from_environment: vec!["data"], ..both }).unwrap();
        assert_eq!((target.base.as_str(), target.token), ("http://a.example:1", None));
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_refused() {
        for bad in ["a:1", "ftp://a", "http://a/x", "http://u:p@a", "http://a?x"] {
            assert!(Target::find(&global(None, Some(bad))).is_err(), "{bad} was taken");
        }
        assert!(Target::find_with(&global(None, None), &None).err().unwrap().is::<Misuse>());
    }

    #[test]
    fn a_node_that_listens_elsewhere_with_a_certificate_is_asked_by_https() {
        let folder = tempfile::tempdir().unwrap();
        let here = global(Some(folder.path()), None);
        let settings = "[node]\nname = \"a\"\n[http]\ntls_certificate = \"cert.pem\"\ntls_key = \"key.pem\"\n";
        let made = rcgen::generate_simple_self_signed(vec!["a.example".into()]).unwrap();
        write_new(&folder.path().join(FILE_NAME), settings.as_bytes(), 0o644).unwrap();
        write_new(&folder.path().join("cert.pem"), made.cert.pem().as_bytes(), 0o644).unwrap();
        write_new(&folder.path().join("admin.token"), b"amt_x\n", 0o600).unwrap();
        for (address, base) in [("0.0.0.0:1", "http://127.0.0.1:1"), ("192.0.2.1:1", "https://192.0.2.1:1")] {
            std::fs::write(folder.path().join("http.addr"), address).unwrap();
            assert_eq!(Target::find(&here).unwrap().base, base);
        }
    }

    #[test]
    fn profiles_say_where_as_whom_and_whom_to_trust() {
        let folder = tempfile::tempdir().unwrap();
        let place = Some(folder.path().join("artimesh/profiles.toml"));
        let profile = |url: &str, token: Option<&str>| Profile {
            url: url.into(),
            token: token.map(str::to_owned),
            ca_file: None,
        };
        Profiles::change(place.as_deref().unwrap(), |profiles| {
            profiles.add("one", profile("http://one", Some("amt_one")))?;
            profiles.add("two", profile("http://two", None))
        })
        .unwrap();
        let file = folder.path().join("token");
        write_new(&file, b"amt_file\n", 0o600).unwrap();
        let find = |profile: Option<&str>, environment: &[&'static str], has_file: bool| {
            let global = Global {
                profile: profile.map(str::to_owned),
                token_file: has_file.then(|| file.clone()),
                from_environment: environment.to_vec(),
                ..Global::default()
            };
            let target = Target::find_with(&global, &place).unwrap();
            (target.base, target.token.unwrap_or_default())
        };
        let is = |url: &str, token: &str| (url.to_owned(), token.to_owned());
        assert_eq!(find(None, &[], false), is("http://one", "amt_one"), "the first is the default");
        assert_eq!(find(Some("two"), &[], false), is("http://two", ""));
        assert_eq!(find(Some("one"), &[], true), is("http://one", "amt_file"));
        assert_eq!(find(Some("one"), &["token_file"], true), is("http://one", "amt_one"));
        assert_eq!(find(Some("one"), &["profile", "token_file"], true), is("http://one", "amt_file"));
        assert_eq!(find(None, &["token_file"], true), is("http://one", "amt_file"));
        let unknown = Global { profile: Some("twoo".into()), ..Global::default() };
        let error = Target::find_with(&unknown, &place).err().unwrap().to_string();
        assert!(error.contains("twoo") && error.contains("one, two"), "{error}");
    }
}
