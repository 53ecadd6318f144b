//! How the files of a scan are dealt into partitions, as a choice that has a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How files and parts of them are dealt into the partitions of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// Runs of files in the order of their paths, of about equal bytes.
    #[default]
    EqualBytes,
    /// The same of about equal rows, where footers tell how many there are; bytes stand for rows otherwise.
    EqualRows,
    /// As many pieces in each partition, picked by chance from this seed.
    Random(u64),
}

impl fmt::Display for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Batching::EqualBytes => f.write_str("equal_bytes"),
            Batching::EqualRows => f.write_str("equal_rows"),
            Batching::Random(seed) => write!(f, "random({seed})"),
        }
    }
}

impl FromStr for Batching {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let seed = text.strip_prefix("random(");
        match (text.as_str(), seed.and_then(|rest| rest.strip_suffix(')'))) {
            ("equal_bytes", _) => Ok(Batching::EqualBytes),
            ("equal_rows", _) => Ok(Batching::EqualRows),
            (_, Some(seed)) => match seed.trim().parse() {
                Ok(seed) => Ok(Batching::Random(seed)),
                Err(_) => {
                    Err("the seed of random is a number from 0 to 18446744073709551615".into())
                }
            },
            _ => Err("not one of its ways".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Batching;

    #[test]
    fn what_it_shows_it_reads() {
        for way in [
            Batching::EqualBytes,
            Batching::EqualRows,
            Batching::Random(u64::MAX),
        ] {
            assert_eq!(way.to_string().parse(), Ok(way));
        }
        assert_eq!("RANDOM( 7 )".parse(), Ok(Batching::Random(7)));
        for wrong in ["random", "random()", "random(-1)", "random(7", "equal"] {
            assert!(wrong.parse::<Batching>().is_err(), "{wrong}");
        }
    }
}
