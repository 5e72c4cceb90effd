//! When and by whom a file was written where it comes from, as properties of the artifact.
//!
//! | property | of a tree | of a server |
//! |---|---|---|
//! | `import.created` | – | when the path was first written |
//! | `import.created-by` | – | by whom then |
//! | `import.modified` | the file's modification time, UTC | when the file was last written |
//! | `import.modified-by` | – | by whom |
//!
//! Of what was imported there itself, the properties say where it came from in the first place, and stay as they are.

use std::time::{SystemTime, UNIX_EPOCH};

use artimesh_core::model::{self, BadProperty};

use super::listed::Properties;

const CREATED: &str = "import.created";
const CREATED_BY: &str = "import.created-by";
const MODIFIED: &str = "import.modified";
const MODIFIED_BY: &str = "import.modified-by";

/// What all properties of this room begin with.
pub(in crate::cli) const PREFIX: &str = "import.";

/// What a server tells of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Provenance {
    pub(in crate::cli) created: Option<String>,
    pub(in crate::cli) created_by: Option<String>,
    pub(in crate::cli) modified: Option<String>,
    pub(in crate::cli) modified_by: Option<String>,
}

/// The properties of a file of a tree.
pub(in crate::cli) fn of_file(modified: SystemTime) -> Properties {
    Properties::from([(MODIFIED.to_owned(), vec![iso8601(modified)])])
}

/// The properties of a server's file, and why some can't be taken over.
pub(in crate::cli) fn of_artifact(provenance: Provenance, theirs: Properties) -> (Properties, Vec<BadProperty>) {
    let Provenance { created, created_by, modified, modified_by } = provenance;
    let pairs = [(CREATED, created), (CREATED_BY, created_by), (MODIFIED, modified), (MODIFIED_BY, modified_by)];
    let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), vec![value?])));
    let mut all: Properties = pairs.collect();
    all.extend(theirs.into_iter().filter(|(_, values)| !values.is_empty()));
    let mut bad = Vec::new();
    all.retain(|name, values| match BadProperty::check(name, values) {
        Ok(()) => true,
        Err(error) => {
            bad.push(error);
            false
        }
    });
    if let Err(error) = model::Properties::try_from(all.clone()) {
        bad.push(error);
        // What tells of the origin is small, and goes first.
        let (origin, others): (Properties, Properties) =
            all.into_iter().partition(|(name, _)| name.starts_with(PREFIX));
        all = origin;
        for (name, values) in others {
            all.insert(name.clone(), values);
            if model::Properties::try_from(all.clone()).is_err() {
                all.remove(&name);
                break;
            }
        }
    }
    (all, bad)
}

/// `2026-11-21T21:47:22.005Z`, to the millisecond as Artifactory writes it; what is before 1970 becomes that.
fn iso8601(time: SystemTime) -> String {
    // The last moment of the year 9999 is the last that the format of four digits has.
    let last = UNIX_EPOCH + std::time::Duration::from_millis(253_402_300_799_999);
    let time = time.clamp(UNIX_EPOCH, last);
    let ms = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_millis());
    // `Sat, 21 Nov 2026 21:47:22 GMT`
    let text = httpdate::fmt_http_date(time);
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(&text[8..11]).map_or(0, |at| at / 3 + 1);
    format!("{}-{month:02}-{}T{}.{ms:03}Z", &text[12..16], &text[5..7], &text[17..25])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_read_as_iso_8601_with_milliseconds() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (1_795_297_642_005, "2026-11-21T21:47:22.005Z"),
            (300_000_000_000_000, "9999-12-31T23:59:59.999Z"),
        ];
        for (ms, expected) in cases {
            assert_eq!(iso8601(UNIX_EPOCH + Duration::from_millis(ms)), expected);
        }
        assert_eq!(iso8601(UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01T00:00:00.000Z");
    }

    fn map(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
    }

    #[test]
    fn names_of_properties_are_ones_that_a_node_takes() {
        let provenance = Provenance {
            created: Some("2020-01-01T00:00:00.000Z".into()),
            created_by: Some("alice".into()),
            modified: Some("2021-01-01T00:00:00.000Z".into()),
            modified_by: Some("bob".into()),
        };
        let (all, bad) = of_artifact(provenance, map(&[("build.name", "x"), ("import.created-by", "first")]));
        assert!(bad.is_empty());
        let expected = [
            ("build.name", "x"),
            ("import.created", "2020-01-01T00:00:00.000Z"),
            ("import.created-by", "first"),
            ("import.modified", "2021-01-01T00:00:00.000Z"),
            ("import.modified-by", "bob"),
        ];
        assert_eq!(all, map(&expected), "what was imported there keeps its first origin");
    }

    #[test]
    fn what_a_node_would_refuse_is_left_out_and_told() {
        let long = "x".repeat(3000);
        let (all, bad) = of_artifact(Provenance::default(), map(&[("a;b", "x"), ("good", "y"), ("long", &long)]));
        assert_eq!((all, bad.len()), (map(&[("good", "y")]), 2));
        let many: Properties = (0..200).map(|n| (format!("p{n:03}"), vec![String::new()])).collect();
        let provenance = Provenance { created: Some("x".into()), ..Provenance::default() };
        let (all, bad) = of_artifact(provenance, many);
        assert_eq!((all.len(), bad.len()), (128, 1));
        assert!(all.contains_key(CREATED));
    }
}
