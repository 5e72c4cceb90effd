//! `*` and `?`.

/// Whether a text is what a pattern says: `*` is any number of characters, `?` is one. Takes at most the product of
/// their lengths, whatever they are.
pub fn matches_pattern(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    // The last star, and how far the text had come there: what it stands for grows until the rest fits.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => {
                let Some((starred, from)) = star else { return false };
                star = Some((starred, from + 1));
                (at, in_pattern) = (from + 1, starred + 1);
            }
        }
    }
    pattern[in_pattern..].iter().all(|rest| *rest == '*')
}

/// What all texts begin with that fit a pattern.
pub fn literal_start(pattern: &str) -> &str {
    &pattern[..pattern.find(['*', '?']).unwrap_or(pattern.len())]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slowly(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skipped| slowly(&text[skipped..], rest)),
            Some((wanted, rest)) => text
                .split_first()
                .is_some_and(|(first, tail)| (*wanted == '?' || wanted == first) && slowly(tail, rest)),
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_definition_says(text in "[abä]{0,8}", pattern in "[abä*?]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches_pattern(&text, &pattern), slowly(&chars(&text), &chars(&pattern)));
            prop_assert!(!matches_pattern(&text, &pattern) || text.starts_with(literal_start(&pattern)));
        }
    }
}
