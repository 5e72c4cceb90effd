//! The request target: an artifact's place, properties as matrix parameters, and the query.
//!
//! # Why
//! Routes are matched on the target as it was sent, and each piece is decoded exactly once, here: what was encoded can
//! never become a separator, and no second decoding can turn `%252e` into a dot.

use std::borrow::Cow;
use std::collections::BTreeMap;

use artimesh_core::model::{ArtifactPath, Properties, RepoKey};
use percent_encoding::percent_decode_str;

use super::error::HttpError;

/// A repository, and a path in it or (`None`) its root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The repository's key.
    pub repo: RepoKey,
    /// `None` for the root.
    pub path: Option<ArtifactPath>,
    /// Whether the target ended in a slash: then it means a folder.
    pub is_folder: bool,
}

impl Place {
    /// From the two raw pieces of a target: a repository's key, and what follows its slash. Matrix parameters behind the key
    /// are for uploads: whoever builds a URL from a base that has some reads with them, too.
    pub fn parse(repo: &str, rest: &str) -> Result<Place, HttpError> {
        let (repo, _) = cut(repo);
        if repo.eq_ignore_ascii_case("api") {
            return Err(HttpError::NoRoute(format!("/artifactory/api/{}", rest.chars().take(120).collect::<String>())));
        }
        let repo = repo.parse::<RepoKey>()?;
        if rest.is_empty() {
            return Ok(Place { repo, path: None, is_folder: true });
        }
        let (rest, is_folder) = match rest.strip_suffix('/') {
            Some(folder) => (folder, true),
            None => (rest, false),
        };
        Ok(Place { repo, path: Some(ArtifactPath::from_target(rest)?), is_folder })
    }

    /// The same for a target that may have matrix parameters, `;k=v;k2=v`, at its end or behind the repository's key: the
    /// properties of a new version. A `;` that belongs to the name has to be encoded there.
    pub fn parse_with_properties(repo: &str, rest: &str) -> Result<(Place, Properties), HttpError> {
        let ((repo, of_all), (rest, of_this)) = (cut(repo), cut(rest));
        Ok((Place::parse(repo, rest)?, matrix(of_all.split(';').chain(of_this.split(';')))?))
    }
}

/// What stands before the first `;`, and what behind it.
fn cut(piece: &str) -> (&str, &str) {
    piece.split_once(';').unwrap_or((piece, ""))
}

/// `k=v`, `k2=a`, `k2=b,c` → `k: [v]`, `k2: [a, b, c]`. Each value once; a name without `=` has the empty value. A comma that
/// belongs to a value is encoded, or has a backslash before it.
fn matrix<'a>(parameters: impl Iterator<Item = &'a str>) -> Result<Properties, HttpError> {
    let mut map = BTreeMap::<String, Vec<String>>::new();
    for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let values = map.entry(text(name)?).or_default();
        for value in value.replace("\\,", "%2C").split(',') {
            let value = text(value)?;
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    Ok(map.try_into()?)
}

/// Encoded as in a form, as clients do it: `+` is a space.
fn text(encoded: &str) -> Result<String, HttpError> {
    let not_text = |_| HttpError::Query { name: "matrix parameter", reason: "it is not percent-encoded UTF-8" };
    percent_decode_str(&encoded.replace('+', " ")).decode_utf8().map(Cow::into_owned).map_err(not_text)
}

/// The query's parameters, decoded, in the order sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// From what follows the `?`. Bytes that aren't UTF-8 become U+FFFD: no parameter here takes any.
    pub fn parse(query: Option<&str>) -> Query {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let split = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        Query(pairs.map(split).collect())
    }

    /// The first value of `name`; empty when it has none (`?list`).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All names with their values, in the order sent.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether `name` is there with a value that means yes: `1` or `true`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(rest: &str) -> Option<String> {
        Place::parse("libs", rest).ok()?.path.map(String::from)
    }

    #[test]
    fn a_target_names_one_place_decoded_once() {
        assert_eq!(path_of("a/b%20c.jar").as_deref(), Some("a/b c.jar"));
        assert_eq!(path_of("a/%252e%252e/b").as_deref(), Some("a/%2e%2e/b"));
        assert_eq!(path_of("a;b=c").as_deref(), Some("a;b=c"));
        assert_eq!(path_of("a+b").as_deref(), Some("a+b"));
        let folder = Place::parse("libs", "a/b/").expect("a folder");
        assert!(folder.is_folder && folder.path.is_some_and(|path| path.as_str() == "a/b"));
        let root = Place::parse("libs", "").expect("the root");
        assert!(root.is_folder && root.path.is_none());
    }

    #[test]
    fn targets_that_climb_hide_or_break_off_are_refused() {
        let hostile = [
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "//",
            "/",
            "%2e%2e/x",
            "%2E%2e/%2e%2E",
            "a%2fb",
            "a%5Cb",
            "a%00",
            "a%0d%0aX:y",
            "%",
            "a%2",
            "%c0%ae",
            "%ff",
            "a/..",
            "..;/x/../y",
            "a%7f",
        ];
        for rest in hostile {
            assert!(Place::parse("libs", rest).is_err(), "{rest} was taken");
        }
        let long = "a/".repeat(600) + "a";
        assert!(Place::parse("libs", &long).is_err());
        for repo in ["", ".", "..", "a%2fb", "a b", "%6cibs", ".hidden"] {
            assert!(Place::parse(repo, "x").is_err(), "{repo} was taken");
        }
        assert!(matches!(Place::parse("API", "x"), Err(HttpError::NoRoute(_))));
    }

    #[test]
    fn matrix_parameters_are_properties() {
        let parse = |rest| Place::parse_with_properties("libs", rest);
        let (place, properties) = parse("a/b/g.bin;arch=a;arch=b;arch=a;build.name=x%20y;;flag;e=1=2").expect("fine");
        assert_eq!(place.path.as_ref().map(ArtifactPath::as_str), Some("a/b/g.bin"));
        let map = properties.as_map();
        assert_eq!(map["arch"], ["a", "b"]);
        assert_eq!(map["build.name"], ["x y"]);
        assert_eq!(map["flag"], [""]);
        assert_eq!(map["e"], ["1=2"]);
        let (place, properties) = parse("a%3Bb=c").expect("fine");
        assert_eq!(place.path.as_ref().map(ArtifactPath::as_str), Some("a;b=c"));
        assert!(properties.is_empty());
        assert!(parse("dir/;k=v").expect("fine").0.is_folder);
        let (_, properties) = parse(r"x;a=red,green,red;a=blue;b=1%2C2;c=1\,2;d=x+y%2Bz;e=,").expect("fine");
        let map = properties.as_map();
        assert_eq!(map["a"], ["red", "green", "blue"]);
        assert_eq!((&map["b"], &map["c"]), (&vec!["1,2".to_owned()], &vec!["1,2".to_owned()]));
        assert_eq!((&map["d"], &map["e"]), (&vec!["x y+z".to_owned()], &vec![String::new()]));
    }

    #[test]
    fn matrix_parameters_behind_the_repository_belong_to_all_that_is_put_there() {
        let (place, properties) = Place::parse_with_properties("libs;build=7;a=1", "org/x.jar;a=2").expect("fine");
        assert_eq!((place.repo.as_str(), place.path.as_ref().map(ArtifactPath::as_str)), ("libs", Some("org/x.jar")));
        let map = properties.as_map();
        assert_eq!((&map["build"], &map["a"]), (&vec!["7".to_owned()], &vec!["1".to_owned(), "2".to_owned()]));
        let read = Place::parse("libs;build=7", "org/x.jar").expect("fine");
        assert_eq!((read.repo, read.path), (place.repo, place.path));
        assert!(Place::parse(";build=7", "x").is_err() && Place::parse_with_properties("libs;=v", "x").is_err());
        assert!(matches!(Place::parse("api;x", "x"), Err(HttpError::NoRoute(_))));
    }

    #[test]
    fn matrix_parameters_that_break_a_bound_are_refused() {
        let many: String = (0..200).map(|n| format!(";k{n}=v")).collect();
        for parameters in [";=v", ";a%2Cb=v", ";k=%ff", ";a%0a=v", &many] {
            assert!(Place::parse_with_properties("libs", &format!("x{parameters}")).is_err(), "{parameters} was taken");
        }
    }

    #[test]
    fn a_query_is_read_as_a_form() {
        let query = Query::parse(Some("list&deep=1&listFolders=true&properties=a%3Db%2Cc&x=y+z&depth="));
        assert_eq!(query.get("list"), Some(""));
        assert!(query.is_on("deep") && query.is_on("listFolders") && !query.is_on("list"));
        assert_eq!(query.get("properties"), Some("a=b,c"));
        assert_eq!(query.get("x"), Some("y z"));
        assert_eq!(query.get("missing"), None);
        assert_eq!(Query::parse(None), Query::default());
    }
}
