//! A folder as a page of relative links, for browsers and for tools that follow links.

use crate::console::{Escaped, page};
use crate::http::dates::iso8601;
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

/// The page of a folder.
pub fn listing(folder: &Folder, base: Base) -> String {
    let own_name = folder.path.as_ref().map_or(folder.repo.as_str(), |path| path.name());
    let prefix = match base {
        Base::Inside => String::new(),
        Base::Beside => format!("{}/", encoded(own_name)),
    };
    let mut body = String::from("<table><tr><th>name</th><th>modified</th><th>bytes</th></tr>\n");
    if folder.path.is_some() {
        let parent = if base == Base::Inside { "../" } else { "./" };
        body.push_str(&format!("<tr><td><a href=\"{parent}\">../</a></td><td></td><td></td></tr>\n"));
    }
    for entry in &folder.children {
        let row = match entry {
            Entry::Folder(name) => format!(
                "<tr><td><a href=\"{prefix}{}/\">{}/</a></td><td></td><td></td></tr>\n",
                encoded(name),
                Escaped(name)
            ),
            Entry::File(item) => format!(
                "<tr><td><a href=\"{prefix}{}\">{}</a></td><td>{}</td><td>{}</td></tr>\n",
                encoded(item.path.name()),
                Escaped(item.path.name()),
                iso8601(item.modified),
                item.size
            ),
        };
        body.push_str(&row);
    }
    body.push_str("</table>");
    let path = folder.path.as_ref().map(|path| format!("/{path}")).unwrap_or_default();
    page(&format!("{}{path}/", folder.repo), &body)
}

#[cfg(test)]
mod tests {
    use artimesh_core::clock::Timestamp;

    use super::*;
    use crate::http::item::samples::item;

    fn folder(path: Option<&str>) -> Folder {
        Folder {
            repo: "libs".parse().expect("a key"),
            path: path.map(|path| path.parse().expect("a path")),
            created: Timestamp(0),
            children: vec![
                Entry::Folder("<b>".into()),
                Entry::Folder("javascript:alert(1)".into()),
                Entry::File(Box::new(item("a/x\" onclick=\"y&.jar"))),
            ],
        }
    }

    #[test]
    fn links_are_relative_to_the_address_that_was_asked_for() {
        let inside = listing(&folder(Some("a")), Base::Inside);
        assert!(inside.contains("href=\"../\"") && inside.contains("href=\"%3Cb%3E/\""));
        let beside = listing(&folder(Some("a")), Base::Beside);
        assert!(beside.contains("href=\"./\"") && beside.contains("href=\"a/%3Cb%3E/\""));
        let root = listing(&folder(None), Base::Beside);
        assert!(!root.contains("\"./\"") && root.contains("href=\"libs/%3Cb%3E/\""));
    }

    #[test]
    fn names_can_not_become_markup_or_scripts() {
        let page = listing(&folder(Some("<i>")), Base::Inside);
        for part in ["<b>", "<i>", "javascript:alert(1)\"", "onclick=\"", "y&."] {
            assert!(!page.contains(part), "{part} is in {page}");
        }
        assert!(page.contains("href=\"javascript%3Aalert%281%29/\""));
    }
}
