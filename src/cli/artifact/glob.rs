//! Patterns of paths: `*` and `?` stay within a segment, `**` stands for any number of segments. `\*` and `\?` stand for
//! themselves: names may have them, and no name has a backslash.

/// What characters make a path a pattern.
const WILD: [char; 2] = ['*', '?'];

/// Where the first wildcard is, if there is one.
fn wildcard(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let is_wild = !is_escaped && WILD.contains(&c);
        is_escaped = !is_escaped && c == '\\';
        is_wild.then_some(at)
    })
}

/// Whether it is more than a path.
pub(in crate::cli) fn is_pattern(text: &str) -> bool {
    wildcard(text).is_some()
}

/// Whether each backslash stands before a wildcard: no name has any.
pub(in crate::cli) fn is_escaped_well(text: &str) -> bool {
    !literal(text).contains('\\')
}

/// A path as it is, of one in which characters stand for themselves.
pub(in crate::cli) fn literal(text: &str) -> String {
    text.replace("\\*", "*").replace("\\?", "?")
}

/// Whether a path is covered by a pattern.
pub(in crate::cli) fn covers(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    // Row by row: where the segments so far may have led to.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for part in pattern {
        let mut next = vec![false; path.len() + 1];
        for at in 0..=path.len() {
            next[at] = if part == "**" {
                reached[at] || (at > 0 && next[at - 1])
            } else {
                at > 0 && reached[at - 1] && segment(part.as_bytes(), path[at - 1])
            };
        }
        reached = next;
    }
    reached[path.len()]
}

fn segment(pattern: &[u8], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = String::from_utf8_lossy(pattern).chars().collect();
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut is_escaped = false;
    for wanted in pattern {
        if wanted == '\\' && !is_escaped {
            is_escaped = true;
            continue;
        }
        let stands_for_itself = std::mem::take(&mut is_escaped);
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match wanted {
                wanted if stands_for_itself => at > 0 && reached[at - 1] && text[at - 1] == wanted,
                '*' => reached[at] || (at > 0 && next[at - 1]),
                '?' => at > 0 && reached[at - 1],
                wanted => at > 0 && reached[at - 1] && text[at - 1] == wanted,
            };
        }
        reached = next;
    }
    reached[text.len()]
}

/// The folder that all paths of a pattern are in, without its slash; nothing for the root.
pub(in crate::cli) fn folder(pattern: &str) -> &str {
    let literal = &pattern[..wildcard(pattern).unwrap_or(pattern.len())];
    literal.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Which of the files of a folder are meant, by their paths in it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Only files that match one of these patterns, by their path in the folder: * and ? are wildcards within a name, ** stands for any
    /// folders
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// No files that match one of these
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
}

impl Filter {
    /// Whether it leaves anything out.
    pub(in crate::cli) fn is_given(&self) -> bool {
        !(self.include.is_empty() && self.exclude.is_empty())
    }

    /// Whether a file is meant.
    pub(in crate::cli) fn takes(&self, path: &str) -> bool {
        let covered = |pattern: &String| covers(pattern, path);
        (self.include.is_empty() || self.include.iter().any(covered)) && !self.exclude.iter().any(covered)
    }
}

#[cfg(test)]
impl Filter {
    /// What matches this, and nothing else.
    pub(in crate::cli) fn including(pattern: &str) -> Filter {
        Filter { include: vec![pattern.to_owned()], exclude: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stay_in_their_segment_and_two_stars_do_not() {
        for (pattern, path) in [
            ("*.jar", "x.jar"),
            ("a/*/c", "a/b/c"),
            ("a/**", "a/b/c"),
            ("**/*.jar", "x.jar"),
            ("**/*.jar", "a/b/x.jar"),
            ("a/**/z", "a/z"),
            ("?ü*", "aübc"),
            ("**", "a/b"),
        ] {
            assert!(covers(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("*.jar", "a/x.jar"), ("a/*", "a/b/c"), ("a/**/z", "b/z"), ("?", "ab"), ("a*b", "ac"), ("a/**", "b")]
        {
            assert!(!covers(pattern, path), "{pattern} {path}");
        }
        let long = "a".repeat(200);
        assert!(!covers(&"a*".repeat(100), &format!("{long}b/")));
    }

    #[test]
    fn escaped_wildcards_stand_for_themselves() {
        assert!(!is_pattern(r"a\*b/c\?") && is_pattern(r"a\*b*") && is_pattern(r"a?\*"));
        assert_eq!(literal(r"a\*b/c\?"), "a*b/c?");
        assert!(covers(r"a\*?", "a*b") && !covers(r"a\*?", "axb") && covers(r"\?*", "?x") && !covers(r"\?*", "xx"));
        assert_eq!(folder(r"a\*/b/c*"), r"a\*/b");
        assert!(is_escaped_well(r"a\*b*/\?") && !is_escaped_well(r"a*\") && !is_escaped_well(r"\a*"));
        assert!(!is_escaped_well(r"a\\*"));
    }

    #[test]
    fn what_stands_before_the_first_wildcard_is_a_folder() {
        for (pattern, expected) in [("a/b/*.jar", "a/b"), ("a/b*/c", "a"), ("*.jar", ""), ("**/x", ""), ("a/?/b", "a")]
        {
            assert_eq!(folder(pattern), expected, "{pattern}");
        }
    }
}
