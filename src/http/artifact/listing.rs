//! A folder as a page of relative links, for browsers and for tools that follow links.

use artimesh_core::model::{ArtifactPath, RepoKey};

use crate::console::{Escaped, opening};
use crate::http::body::Broken;
use crate::http::dates::iso8601;
use crate::http::folder::Shape;
use crate::http::item::Shown;
use crate::http::links::encoded;
use crate::service::{Entry, Folder};

/// Nothing may be loaded or run.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the links of a page start from, which depends on how its address ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// The address ends in a slash: links start in the folder.
    Inside,
    /// It doesn't: links start beside the folder.
    Beside,
}

/// One line of a page.
#[derive(Clone, Copy, Debug)]
enum Row<'folder> {
    Folder(&'folder str),
    File(Shown<'folder>),
}

impl Row<'_> {
    fn html(self, prefix: &str) -> String {
        match self {
            Row::Folder(name) => {
                let (link, shown) = (encoded(name), Escaped(name));
                format!("<tr><td><a href=\"{prefix}{link}/\">{shown}/</a></td><td></td><td></td></tr>\n")
            }
            Row::File(item) => {
                let (link, shown) = (encoded(item.path.name()), Escaped(item.path.name()));
                let (modified, size) = (iso8601(item.modified), item.size);
                format!("<tr><td><a href=\"{prefix}{link}\">{shown}</a></td><td>{modified}</td><td>{size}</td></tr>\n")
            }
        }
    }
}

/// The page of a folder, as it is written while its children are read.
pub fn listing(folder: &Folder, base: Base) -> Shape<impl FnMut(&Entry) -> Result<String, Broken> + Send + use<>> {
    let prefix = prefix(&folder.repo, folder.path.as_ref(), base);
    let row = move |entry: &Entry| {
        Ok(match entry {
            Entry::Folder(name) => Row::Folder(name),
            Entry::File(item) => Row::File(item.as_ref().into()),
        }
        .html(&prefix))
    };
    let (head, tail) = frame(&folder.repo, folder.path.as_ref(), base);
    Shape { head, row, between: "", tail, media_type: "text/html; charset=utf-8" }
}

/// What stands before each link.
fn prefix(repo: &RepoKey, path: Option<&ArtifactPath>, base: Base) -> String {
    match base {
        Base::Inside => String::new(),
        Base::Beside => format!("{}/", encoded(path.map_or(repo.as_str(), |path| path.name()))),
    }
}

/// What stands before the rows of a page, and behind them.
fn frame(repo: &RepoKey, path: Option<&ArtifactPath>, base: Base) -> (String, &'static str) {
    const END: &str = "</table></body></html>\n";
    let mut body = String::from("<table><tr><th>name</th><th>modified</th><th>bytes</th></tr>\n");
    if path.is_some() {
        let parent = if base == Base::Inside { "../" } else { "./" };
        body.push_str(&format!("<tr><td><a href=\"{parent}\">../</a></td><td></td><td></td></tr>\n"));
    }
    let path = path.map(|path| format!("/{path}")).unwrap_or_default();
    (opening(&format!("{repo}{path}/"), &body), END)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::item::samples::item;

    fn shown(path: Option<&str>, base: Base) -> String {
        let rows = [Row::Folder("<b>"), Row::Folder("javascript:alert(1)"), Row::File(item("a/x\" onclick=\"y&.jar"))];
        let path = path.map(|path| path.parse().expect("a path"));
        let repo = "libs".parse().expect("a key");
        let (head, tail) = frame(&repo, path.as_ref(), base);
        let prefix = prefix(&repo, path.as_ref(), base);
        format!("{head}{}{tail}", rows.into_iter().map(|row| row.html(&prefix)).collect::<String>())
    }

    #[test]
    fn links_are_relative_to_the_address_that_was_asked_for() {
        let inside = shown(Some("a"), Base::Inside);
        assert!(inside.contains("href=\"../\"") && inside.contains("href=\"%3Cb%3E/\""));
        let beside = shown(Some("a"), Base::Beside);
        assert!(beside.contains("href=\"./\"") && beside.contains("href=\"a/%3Cb%3E/\""));
        let root = shown(None, Base::Beside);
        assert!(!root.contains("\"./\"") && root.contains("href=\"libs/%3Cb%3E/\""));
    }

    #[test]
    fn names_can_not_become_markup_or_scripts() {
        let page = shown(Some("<i>"), Base::Inside);
        for part in ["<b>", "<i>", "javascript:alert(1)\"", "onclick=\"", "y&."] {
            assert!(!page.contains(part), "{part} is in {page}");
        }
        assert!(page.contains("href=\"javascript%3Aalert%281%29/\""));
    }
}
