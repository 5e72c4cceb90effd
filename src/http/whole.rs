//! Whole numbers in bodies of JSON.
//!
//! To JSON, and to the schemas that clients are made from, `300` and `300.0` are the same number, and some programs write
//! the second; serde takes only the first.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// A number from 0 that has no fraction.
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    of(&number).ok_or_else(|| D::Error::custom(format!("{number} is not a whole number from 0 to {}", u64::MAX)))
}

/// The same, or null.
pub fn whole_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<Number>::deserialize(deserializer)?;
    number.map(|number| whole(number).map_err(D::Error::custom)).transpose()
}

fn of(number: &Number) -> Option<u64> {
    /// 2 to the power of 64.
    const TOO_GREAT: f64 = 18_446_744_073_709_551_616.0;
    let is_whole = |number: &f64| number.fract() == 0.0 && (0.0..TOO_GREAT).contains(number);
    number.as_u64().or_else(|| number.as_f64().filter(is_whole).map(|number| number as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Wish {
        #[serde(default, deserialize_with = "whole")]
        wait_s: u64,
        #[serde(default, deserialize_with = "whole_or_null")]
        grace_s: Option<u64>,
    }

    fn read(text: &str) -> Option<(u64, Option<u64>)> {
        serde_json::from_str::<Wish>(text).ok().map(|wish| (wish.wait_s, wish.grace_s))
    }

    #[test]
    fn a_whole_number_is_read_however_it_is_written() {
        assert_eq!(read("{}"), Some((0, None)));
        assert_eq!(read(r#"{"wait_s":300,"grace_s":null}"#), Some((300, None)));
        assert_eq!(read(r#"{"wait_s":300.0,"grace_s":3e2}"#), Some((300, Some(300))));
        assert_eq!(read(r#"{"wait_s":-0.0,"grace_s":18446744073709551615}"#), Some((0, Some(u64::MAX))));
        assert_eq!(read(r#"{"wait_s":18446744073709549568.0}"#), Some((18_446_744_073_709_549_568, None)));
    }

    #[test]
    fn what_is_no_such_number_is_refused() {
        for bad in ["-1", "0.5", "18446744073709551616", "1e300", "\"1\"", "true", "[]", "{}"] {
            assert_eq!(read(&format!("{{\"wait_s\":{bad}}}")), None, "{bad}");
            assert_eq!(read(&format!("{{\"grace_s\":{bad}}}")), None, "{bad}");
        }
        assert_eq!(read(r#"{"wait_s":null}"#), None);
    }
}
