//! What planning and execution of one query depend on, as plain data: it travels with encoded stages.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use tidegate_operators::source::Batching;

use crate::durable::Checkpoint;
use crate::graph::EdgeForm;

/// The settings of one query. Clock, seed, user and time zone are handed in here and never read in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSettings {
    /// How many partitions run side by side, normally the number of threads. At least 1.
    pub partitions: usize,
    /// Rows of a batch. At least 1.
    pub batch_rows: usize,
    /// The session's time zone, as `+00:00` or `Europe/Berlin`.
    pub time_zone: String,
    /// What `now()` and `current_date` answer.
    #[serde(with = "micros")]
    pub now: DateTime<Utc>,
    /// The source of every random number of the query.
    pub seed: u64,
    /// What `current_user` answers.
    pub user: String,
    /// Decide row by row in Parquet's reader which rows to decode, instead of filtering after it.
    pub pushdown_filters: bool,
    /// Tables of `information_schema` can be queried.
    pub information_schema: bool,
    /// Order joins by what is known of the tables; otherwise they stay in the order of the text.
    pub join_order: bool,
    /// Give the same bits each time, where that can be had.
    #[serde(default)]
    pub strict: bool,
    /// How the stages of a query are run.
    #[serde(default)]
    pub execution: Execution,
    /// How files are dealt into the partitions of a scan.
    #[serde(default)]
    pub batching: Batching,
    /// How it is sealed, if it is a statement of a durable job.
    #[serde(default)]
    pub checkpoint: Option<Checkpoint>,
    /// Memory a merging sort keeps back for its last phase, in bytes.
    pub sort_spill_reservation_bytes: usize,
}

/// How the stages of a query are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// As it is best: all at the same time, as long as nobody asks for a result that survives.
    #[default]
    Auto,
    /// All at the same time: rows stream from one to the next.
    Pipelined,
    /// One after the other: what a stage has written is whole before the next one reads it.
    Staged,
}

impl Execution {
    /// How rows travel between stages.
    pub fn form(self) -> EdgeForm {
        match self {
            Execution::Auto | Execution::Pipelined => EdgeForm::Stream,
            Execution::Staged => EdgeForm::Sealed,
        }
    }
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Execution::Auto => "auto",
            Execution::Pipelined => "pipelined",
            Execution::Staged => "staged",
        })
    }
}

impl FromStr for Execution {
    type Err = crate::Error;

    fn from_str(name: &str) -> crate::Result<Self> {
        match name {
            "auto" => Ok(Execution::Auto),
            "pipelined" => Ok(Execution::Pipelined),
            "staged" => Ok(Execution::Staged),
            _ => Err(crate::Error::Unsupported(format!(
                "`{name}` is no way to run stages; use `auto`, `pipelined` or `staged`"
            ))),
        }
    }
}

impl PlanSettings {
    /// The settings of a query that starts at `now`; every other field has its default.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self {
            partitions: 1,
            batch_rows: 8192,
            time_zone: "+00:00".into(),
            now,
            seed: 0,
            user: "tidegate".into(),
            pushdown_filters: false,
            information_schema: true,
            join_order: true,
            strict: false,
            execution: Execution::Auto,
            batching: Batching::EqualBytes,
            checkpoint: None,
            sort_spill_reservation_bytes: 10 * 1024 * 1024,
        }
    }
}

/// A point in time as microseconds since 1970.
mod micros {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        time: &DateTime<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(time.timestamp_micros())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        let micros = i64::deserialize(deserializer)?;
        DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| D::Error::custom("a point in time out of range"))
    }
}
