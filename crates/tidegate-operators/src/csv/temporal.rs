//! Dates and timestamps straight from bytes: ISO 8601, or a format of the user's.

use arrow::datatypes::TimeUnit;
use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::number::{Cell, digits8};

/// A timestamp's text in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Days since 1970-01-01.
    days: i64,
    /// Seconds of the day, less the zone's offset.
    seconds: i64,
    nanoseconds: i64,
    /// Seconds east of Greenwich, by which the seconds are less than written.
    offset: i64,
    /// It says its zone.
    pub(super) zoned: bool,
    /// It needs more than microseconds.
    pub(super) fine: bool,
}

impl Stamp {
    /// The count of `unit` since 1970; none when that would lose something.
    #[inline(always)]
    pub(super) fn count(self, unit: TimeUnit) -> Option<i64> {
        let seconds = self.days * 86_400 + self.seconds;
        let (per_second, step) = match unit {
            TimeUnit::Second => (1, 1_000_000_000),
            TimeUnit::Millisecond => (1_000, 1_000_000),
            TimeUnit::Microsecond => (1_000_000, 1_000),
            TimeUnit::Nanosecond => (1_000_000_000, 1),
        };
        if self.nanoseconds % step != 0 {
            return None;
        }
        seconds
            .checked_mul(per_second)?
            .checked_add(self.nanoseconds / step)
    }
}

/// Days since 1970 of `2026-11-23`.
#[inline(always)]
pub(super) fn date(cell: Cell<'_>) -> Option<i32> {
    if cell.len() != 10 {
        return None;
    }
    let at = cell.start;
    if cell.data[at + 4] != b'-' || cell.data[at + 7] != b'-' {
        return None;
    }
    let year = digits8(cell, at, 4)?;
    let month = digits8(cell, at + 5, 2)?;
    let day = digits8(cell, at + 8, 2)?;
    days(year as i32, month as u32, day as u32)
}

/// Days since 1970 of a date that exists.
#[inline(always)]
fn days(year: i32, month: u32, day: u32) -> Option<i32> {
    const LENGTHS: [u8; 16] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = u32::from(*LENGTHS.get(month as usize)?) + u32::from(leap && month == 2);
    if day == 0 || day > length {
        return None;
    }
    // Years that start in March, counted from the year 0.
    let shifted = year - i32::from(month <= 2);
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let century = shifted.div_euclid(100);
    Some(
        365 * shifted + shifted.div_euclid(4) - century
            + century.div_euclid(4)
            + day_of_year as i32
            - 719_468,
    )
}

/// `2026-11-23`, `2026-11-23 16:57`, `2026-11-23T16:57:08.123456+01:00`.
#[inline(always)]
pub(super) fn stamp(cell: Cell<'_>) -> Option<Stamp> {
    if cell.len() < 10 {
        return None;
    }
    let days = i64::from(date(Cell {
        end: cell.start + 10,
        ..cell
    })?);
    let mut stamp = Stamp {
        days,
        seconds: 0,
        nanoseconds: 0,
        offset: 0,
        zoned: false,
        fine: false,
    };
    if cell.len() == 10 {
        return Some(stamp);
    }
    let bytes = cell.bytes();
    if cell.len() < 16 || !matches!(bytes[10], b' ' | b'T' | b't') || bytes[13] != b':' {
        return None;
    }
    let pair = |at: usize| digits8(cell, cell.start + at, 2);
    let (hours, minutes) = (pair(11)?, pair(14)?);
    let (mut seconds, mut at) = (0, 16);
    if bytes.get(16) == Some(&b':') {
        if bytes.len() < 19 {
            return None;
        }
        seconds = pair(17)?;
        at = 19;
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    stamp.seconds = (hours * 3600 + minutes * 60 + seconds) as i64;
    let mut rest = &bytes[at..];
    if at == 19 && rest.first() == Some(&b'.') {
        let (nanoseconds, after) = fraction(&rest[1..])?;
        stamp.nanoseconds = nanoseconds;
        stamp.fine = nanoseconds % 1000 != 0;
        rest = after;
    }
    if !rest.is_empty() {
        stamp.zoned = true;
        stamp.offset = zone(rest)?;
        stamp.seconds -= stamp.offset;
    }
    Some(stamp)
}

/// Nanoseconds of one to nine digits, and what follows them; further zeros lose nothing.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let count = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if count == 0 {
        return None;
    }
    let mut value = 0i64;
    for place in 0..9 {
        value = value * 10
            + bytes
                .get(place)
                .filter(|_| place < count)
                .map_or(0, |byte| i64::from(byte - b'0'));
    }
    let exact = bytes
        .get(9..count)
        .is_none_or(|more| more.iter().all(|&byte| byte == b'0'));
    exact.then_some((value, &bytes[count..]))
}

/// Seconds east of Greenwich of `Z`, `UTC`, `+01`, `+0130`, `-01:30`.
#[cold]
fn zone(bytes: &[u8]) -> Option<i64> {
    let bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
    if matches!(bytes, b"Z" | b"z" | b"UTC" | b"GMT") {
        return Some(0);
    }
    let sign = match bytes.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let number = |pair: &[u8]| match pair {
        [high, low] if high.is_ascii_digit() && low.is_ascii_digit() => {
            Some(i64::from(high - b'0') * 10 + i64::from(low - b'0'))
        }
        _ => None,
    };
    let (hours, minutes) = match &bytes[1..] {
        [a, b] => (number(&[*a, *b])?, 0),
        [a, b, c, d] | [a, b, b':', c, d] => (number(&[*a, *b])?, number(&[*c, *d])?),
        _ => return None,
    };
    (hours <= 18 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// What the clock of a text shows, in seconds since 1970 and nanoseconds, and its offset if it says one.
pub(crate) fn written(text: &str) -> Option<(i64, i64, Option<i64>)> {
    let stamp = stamp(whole(text.as_bytes()))?;
    let seconds = stamp.days * 86_400 + stamp.seconds + stamp.offset;
    Some((
        seconds,
        stamp.nanoseconds,
        stamp.zoned.then_some(stamp.offset),
    ))
}

/// The days since 1970 that a reader finds in a text of the user's format.
pub(crate) fn days_of(text: &[u8], format: &str) -> Option<i64> {
    date_by(whole(text), format).map(i64::from)
}

/// The seconds since 1970 and the nanoseconds that a reader finds in a text of the user's format.
pub(crate) fn instant_of(text: &[u8], format: &str) -> Option<(i64, i64)> {
    let stamp = stamp_by(whole(text), format)?;
    Some((stamp.days * 86_400 + stamp.seconds, stamp.nanoseconds))
}

fn whole(text: &[u8]) -> Cell<'_> {
    Cell {
        data: text,
        start: 0,
        end: text.len(),
    }
}

/// A date in the user's format.
#[cold]
pub(super) fn date_by(cell: Cell<'_>, format: &str) -> Option<i32> {
    let text = std::str::from_utf8(cell.bytes()).ok()?;
    let date = NaiveDate::parse_from_str(text, format).ok()?;
    i32::try_from((date - NaiveDate::default()).num_days()).ok()
}

/// A timestamp in the user's format, which says the zone or does not.
#[cold]
pub(super) fn stamp_by(cell: Cell<'_>, format: &str) -> Option<Stamp> {
    let text = std::str::from_utf8(cell.bytes()).ok()?;
    let (time, zoned) = match DateTime::parse_from_str(text, format) {
        Ok(time) => (time.naive_utc(), true),
        Err(_) => match NaiveDateTime::parse_from_str(text, format) {
            Ok(time) => (time, false),
            Err(_) => (
                NaiveDate::parse_from_str(text, format)
                    .ok()?
                    .and_hms_opt(0, 0, 0)?,
                false,
            ),
        },
    };
    let nanoseconds = i64::from(time.and_utc().timestamp_subsec_nanos());
    let seconds = time.and_utc().timestamp();
    Some(Stamp {
        days: 0,
        seconds,
        nanoseconds,
        offset: 0,
        zoned,
        fine: nanoseconds % 1000 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Cell<'_> {
        Cell {
            data: text.as_bytes(),
            start: 0,
            end: text.len(),
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_what_chrono_says() {
        let mut day = NaiveDate::from_ymd_opt(1799, 12, 31).unwrap_or_default();
        for _ in 0..150_000 {
            let expect = (day - NaiveDate::default()).num_days() as i32;
            assert_eq!(date(cell(&day.to_string())), Some(expect), "{day}");
            day = day.succ_opt().unwrap_or_default();
        }
        assert_eq!(date(cell("0000-01-01")), Some(-719_528));
        assert_eq!(date(cell("9999-12-31")), Some(2_932_896));
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in [
            "2026-02-29",
            "2026-00-01",
            "2026-13-01",
            "2026-04-31",
            "2026-01-00",
            "1900-02-29",
            "2026-1-01",
            "2026/01/01",
            "x026-01-01",
            "2026-01-0x",
            "2026-99-99",
            "2026-01-01 ",
        ] {
            assert_eq!(date(cell(text)), None, "{text}");
        }
    }

    #[test]
    fn timestamps_in_their_forms() {
        let check = |text: &str, expect: Option<(i64, bool)>| {
            let found = stamp(cell(text))
                .and_then(|stamp| Some((stamp.count(TimeUnit::Microsecond)?, stamp.zoned)));
            assert_eq!(found, expect, "{text}");
        };
        check("1970-01-02", Some((86_400_000_000, false)));
        check("1970-01-01 00:01", Some((60_000_000, false)));
        check("1970-01-01T00:00:01", Some((1_000_000, false)));
        check("1970-01-01 00:00:01.5", Some((1_500_000, false)));
        check("1969-12-31 23:59:59.999999", Some((-1, false)));
        check("1970-01-01 01:00:00+01", Some((0, true)));
        check("1970-01-01 01:00:00 +0100", Some((0, true)));
        check("1970-01-01 00:00:00-01:30", Some((5_400_000_000, true)));
        check("1970-01-01T00:00:00.000001000Z", Some((1, true)));
        check("1970-01-01 00:00 UTC", Some((0, true)));
        for text in [
            "1970-01-01 ",
            "1970-01-01 24:00:00",
            "1970-01-01 00:60",
            "1970-01-01 00:00:60",
            "1970-01-01 00:00:00.",
            "1970-01-01 00:00:00.0000001",
            "1970-01-01 00:00:0",
            "1970-01-01x00:00:00",
            "1970-01-01 00:00:00+1",
            "1970-01-01 00:00:00 CET",
            "1970-01-01 00:00:00+01:0",
        ] {
            check(text, None);
        }
        let fine = stamp(cell("1970-01-01 00:00:00.000000001"));
        assert_eq!(
            fine.and_then(|stamp| stamp.count(TimeUnit::Nanosecond)),
            Some(1)
        );
        assert_eq!(
            stamp(cell("9999-12-31 00:00:00")).and_then(|s| s.count(TimeUnit::Nanosecond)),
            None
        );
    }

    #[test]
    fn formats_of_the_user() {
        assert_eq!(date_by(cell("02.01.1970"), "%d.%m.%Y"), Some(1));
        assert_eq!(date_by(cell("1970-01-02"), "%d.%m.%Y"), None);
        let count = |text: &str, format: &str| {
            stamp_by(cell(text), format).and_then(|s| s.count(TimeUnit::Second))
        };
        assert_eq!(count("01/01/1970 00:01:00", "%m/%d/%Y %H:%M:%S"), Some(60));
        assert_eq!(
            count("01/01/1970 01:00 +0100", "%m/%d/%Y %H:%M %z"),
            Some(0)
        );
    }
}
