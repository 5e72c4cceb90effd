//! Patterns as Ant has them: `*` and `?` stay within a segment, `**` is any number of segments.

/// Whether a path is what a pattern says. A pattern that ends in a slash stands for all that is below.
pub fn matches(path: &str, pattern: &str) -> bool {
    let segments: Vec<&str> = path.split('/').collect();
    let mut wanted: Vec<&str> = pattern.split('/').collect();
    if let Some(last) = wanted.last_mut().filter(|last| last.is_empty()) {
        *last = "**";
    }
    // Which prefixes of the path fit what was looked at of the pattern.
    let mut fits = vec![false; segments.len() + 1];
    fits[0] = true;
    for part in wanted {
        let mut next = vec![false; segments.len() + 1];
        for count in 0..=segments.len() {
            next[count] = if part == "**" {
                fits[count] || count > 0 && next[count - 1]
            } else {
                count > 0 && fits[count - 1] && crate::service::matches_pattern(segments[count - 1], part)
            };
        }
        fits = next;
    }
    fits[segments.len()]
}

/// The folder in which everything is that a pattern may stand for, with its slash; empty for the root.
pub fn folder(pattern: &str) -> &str {
    let literal = &pattern[..pattern.find(['*', '?']).unwrap_or(pattern.len())];
    &literal[..literal.rfind('/').map_or(0, |slash| slash + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_in_their_segment_and_two_of_them_do_not() {
        for (pattern, yes, no) in [
            ("*.jar", "a.jar", "x/a.jar"),
            ("**/*.jar", "a.jar", "a.pom"),
            ("**/*.jar", "x/y/a.jar", "x/y/a.jar/b"),
            ("x/**", "x/y/z", "y/x"),
            ("x/", "x/y/z", "y/x"),
            ("x/**/z?", "x/z1", "x/y/z"),
            ("x/**/y/*", "x/y/y/y", "x/y"),
            ("a", "a", "ab"),
        ] {
            assert!(matches(yes, pattern), "{pattern} {yes}");
            assert!(!matches(no, pattern), "{pattern} {no}");
        }
    }

    #[test]
    fn what_is_read_begins_with_the_folders_that_are_named() {
        assert_eq!(["a/b*/c", "*.jar", "a/b/c", "a?/b", "a/b/**"].map(folder), ["a/", "", "a/b/", "", "a/b/"]);
    }
}
