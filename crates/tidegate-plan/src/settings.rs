//! What planning and execution of one query depend on, as plain data: it travels with encoded stages.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

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
    /// Memory a merging sort keeps back for its last phase, in bytes.
    pub sort_spill_reservation_bytes: usize,
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
