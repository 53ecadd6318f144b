//! Timestamps beside text and time zones, as PostgreSQL has them: what a text says, how a value is written, which
//! instant a wall clock means.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::TimeUnit;
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};

use crate::csv;
use crate::write::timestamp_cell;

/// The hours to look back from a time that no clock showed, for the offset before it. Samoa once left out a day.
const GAP_HOURS_MAX: i64 = 30;

/// A time as it is written.
///
/// ```
/// use tidegate_operators::timestamps::Written;
/// let written = Written::read("2024-02-09 12:34+02").unwrap();
/// assert_eq!((written.seconds, written.nanoseconds), (1_707_482_040, 0));
/// assert_eq!(written.offset_seconds, Some(7200));
/// assert!(Written::read("2024-02-30 12:34").is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// What the clock shows, in seconds since 1970.
    pub seconds: i64,
    /// The nanoseconds of its second.
    pub nanoseconds: i64,
    /// Seconds east of Greenwich, if the text says the zone.
    pub offset_seconds: Option<i64>,
}

impl Written {
    /// Reads `2024-02-09`, `2024-02-09 12:34`, `2024-02-09T12:34:56.789+02:00`, `2024-02-09 12:34:56 Europe/Berlin`.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let read = |text: &str| {
            let (seconds, nanoseconds, offset_seconds) =
                csv::written(text).or_else(|| by_arrow(text))?;
            Some(Self {
                seconds,
                nanoseconds,
                offset_seconds,
            })
        };
        read(text).or_else(|| {
            let (rest, zone) = text.rsplit_once(' ')?;
            let written =
                read(rest.trim_end()).filter(|written| written.offset_seconds.is_none())?;
            let offset_seconds = Zone::read(zone)?.offset_of_clock(written.seconds);
            Some(Self {
                offset_seconds: Some(offset_seconds?),
                ..written
            })
        })
    }
}

/// A time zone.
///
/// ```
/// use tidegate_operators::timestamps::Zone;
/// let berlin = Zone::read("Europe/Berlin").unwrap();
/// assert_eq!(berlin.offset_at(1_720_000_000), Some(7200));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Zone(Tz);

impl Zone {
    /// The zone of a name such as `Europe/Berlin`, or of an offset such as `+02:00`.
    pub fn read(name: &str) -> Option<Self> {
        name.trim().parse().ok().map(Self)
    }

    /// Seconds east of Greenwich at an instant, in seconds since 1970. None outside of the calendar.
    pub fn offset_at(self, seconds: i64) -> Option<i64> {
        let instant = clock(seconds)?;
        let offset = self.0.offset_from_utc_datetime(&instant).fix();
        Some(offset.local_minus_utc().into())
    }

    /// Seconds east of Greenwich when the clock shows so many seconds since 1970. Of a time that it shows twice it is
    /// the second; a time that it leaves out is counted on from before.
    pub fn offset_of_clock(self, seconds: i64) -> Option<i64> {
        let shown = clock(seconds)?;
        let offset = |shown: &NaiveDateTime| match self.0.offset_from_local_datetime(shown) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => Some(offset),
            LocalResult::None => None,
        };
        let before = (1..=GAP_HOURS_MAX).map(|hours| shown - TimeDelta::hours(hours));
        let offset =
            offset(&shown).or_else(|| before.into_iter().find_map(|time| offset(&time)))?;
        Some(offset.fix().local_minus_utc().into())
    }
}

/// What arrow reads beyond the reader of CSV: `2024-02-09 123456`. Only without a zone, which it would not tell.
fn by_arrow(text: &str) -> Option<(i64, i64, Option<i64>)> {
    let (_, time) = text.split_at_checked(10)?;
    if time.contains(|c: char| !c.is_ascii_digit() && !"Tt :.".contains(c)) {
        return None;
    }
    let time = string_to_datetime(&Utc, text).ok()?;
    Some((time.timestamp(), time.timestamp_subsec_nanos().into(), None))
}

fn clock(seconds: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(seconds, 0).map(|time| time.naive_utc())
}

/// How many of a unit a second has.
pub fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A timestamp as it is written into CSV: `2024-07-01 08:00:00.5`, with the offset if there is one: `…-04`.
pub fn text(value: i64, unit: TimeUnit, offset_seconds: Option<i64>) -> String {
    timestamp_cell(value, per_second(unit), offset_seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn seconds(text: &str) -> i64 {
        Written::read(text).unwrap().seconds
    }

    #[test]
    fn a_clock_that_is_set_back_means_the_later_time() {
        let berlin = Zone::read("Europe/Berlin").unwrap();
        let offset = |text| berlin.offset_of_clock(seconds(text));
        assert_eq!(offset("2024-10-27 01:59:59"), Some(7200));
        assert_eq!(offset("2024-10-27 02:30"), Some(3600));
        assert_eq!(offset("2024-03-31 01:59:59"), Some(3600));
        // Nobody's clock showed this: an hour later than half past one it was half past three.
        assert_eq!(offset("2024-03-31 02:30"), Some(3600));
        assert_eq!(offset("2024-03-31 03:00"), Some(7200));
        let samoa = Zone::read("Pacific/Apia").unwrap();
        assert_eq!(
            samoa.offset_of_clock(seconds("2011-12-30 12:00")),
            Some(-36_000)
        );
        assert_eq!(berlin.offset_of_clock(i64::MAX), None);
    }

    #[test]
    fn a_text_may_say_its_zone() {
        for (text, offset) in [
            ("2024-02-09", None),
            ("2024-02-09 12:34", None),
            (" 2024-02-09T12:34:56.7 ", None),
            ("2024-02-09 12:34:56Z", Some(0)),
            ("2024-02-09 12:34:56 -03:30", Some(-12_600)),
            ("2024-07-09 12:34 Europe/Berlin", Some(7200)),
        ] {
            assert_eq!(
                Written::read(text).unwrap().offset_seconds,
                offset,
                "{text}"
            );
        }
        for text in ["", "x", "2024-02-09 25:00", "2024-02-09 12:34 Nowhere/Else"] {
            assert_eq!(Written::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_fraction_is_written_where_there_is_one() {
        assert_eq!(
            text(1_500, TimeUnit::Millisecond, None),
            "1970-01-01 00:00:01.5"
        );
        assert_eq!(
            text(0, TimeUnit::Second, Some(-14_400)),
            "1969-12-31 20:00:00-04"
        );
    }
}
