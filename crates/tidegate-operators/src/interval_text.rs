//! Intervals and durations as SQL writes them: `1 year 2 months 3 days 04:05:06.5`. Arrow's own text is
//! `14 mons 3 days 4 hours 5 mins 6.500000000 secs` of the one and `PT14706S` of the other.

use std::fmt::{self, Display, Write};
use std::io::Write as _;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Field, FieldRef, IntervalDayTimeType, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder};
use arrow::util::display::{
    ArrayFormatter, ArrayFormatterFactory, DisplayIndex, FormatOptions, FormatResult,
};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The text of an interval.
///
/// ```
/// use arrow::datatypes::IntervalMonthDayNano;
/// use tidegate_operators::interval_text::IntervalText;
/// let text = |months, days, nanos| IntervalText(IntervalMonthDayNano::new(months, days, nanos)).to_string();
/// assert_eq!(text(14, -1, 81_000_500_000_000), "1 year 2 months -1 day 22:30:00.5");
/// assert_eq!(text(0, 0, 0), "00:00:00");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct IntervalText(pub IntervalMonthDayNano);

impl Display for IntervalText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IntervalMonthDayNano {
            months,
            days,
            nanoseconds,
        } = self.0;
        let mut first = true;
        for (count, unit) in [(months / 12, "year"), (months % 12, "month"), (days, "day")] {
            if count != 0 {
                let blank = if first { "" } else { " " };
                let many = if count.abs() == 1 { "" } else { "s" };
                write!(f, "{blank}{count} {unit}{many}")?;
                first = false;
            }
        }
        if nanoseconds == 0 && !first {
            return Ok(());
        }
        f.write_str(if first { "" } else { " " })?;
        f.write_str(if nanoseconds < 0 { "-" } else { "" })?;
        let (seconds, fraction) = (
            nanoseconds.unsigned_abs() / SECOND as u64,
            nanoseconds.unsigned_abs() % SECOND as u64,
        );
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}", seconds % 60)?;
        match fraction {
            0 => Ok(()),
            _ => write!(f, ".{}", format!("{fraction:09}").trim_end_matches('0')),
        }
    }
}

/// The values of an array of intervals or durations; none of another type.
pub fn intervals(array: &dyn Array) -> Option<Box<dyn Fn(usize) -> IntervalMonthDayNano + '_>> {
    let exactly = IntervalMonthDayNano::new;
    Some(match array.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            Box::new(|row| values.value(row))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let values = array.as_primitive::<IntervalDayTimeType>();
            Box::new(move |row| {
                let value = values.value(row);
                exactly(
                    0,
                    value.days,
                    i64::from(value.milliseconds) * (SECOND / 1000),
                )
            })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let values = array.as_primitive::<IntervalYearMonthType>();
            Box::new(move |row| exactly(values.value(row), 0, 0))
        }
        DataType::Duration(TimeUnit::Second) => {
            let values = array.as_primitive::<DurationSecondType>();
            Box::new(|row| of_duration(values.value(row), 1))
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            let values = array.as_primitive::<DurationMillisecondType>();
            Box::new(|row| of_duration(values.value(row), 1000))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            let values = array.as_primitive::<DurationMicrosecondType>();
            Box::new(|row| of_duration(values.value(row), 1_000_000))
        }
        DataType::Duration(TimeUnit::Nanosecond) => {
            let values = array.as_primitive::<DurationNanosecondType>();
            Box::new(|row| of_duration(values.value(row), SECOND))
        }
        _ => return None,
    })
}

/// Days of 24 hours and the rest. More days than an interval has are its most.
fn of_duration(value: i64, per_second: i64) -> IntervalMonthDayNano {
    let per_day = DAY / (SECOND / per_second);
    let days = value / per_day;
    let most = if days < 0 { i32::MIN } else { i32::MAX };
    let nanos = value % per_day * (SECOND / per_second);
    IntervalMonthDayNano::new(0, i32::try_from(days).unwrap_or(most), nanos)
}

struct Intervals<'a> {
    values: Box<dyn Fn(usize) -> IntervalMonthDayNano + 'a>,
    array: &'a dyn Array,
    null: &'a str,
}

impl<'a> Intervals<'a> {
    fn of(array: &'a dyn Array, null: &'a str) -> Option<Self> {
        let values = intervals(array)?;
        Some(Self {
            values,
            array,
            null,
        })
    }
}

impl DisplayIndex for Intervals<'_> {
    fn write(&self, row: usize, f: &mut dyn Write) -> FormatResult {
        match self.array.is_null(row) {
            true => f.write_str(self.null)?,
            false => write!(f, "{}", IntervalText((self.values)(row)))?,
        }
        Ok(())
    }
}

impl Encoder for Intervals<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        // Writing into a vector cannot fail.
        let _ = write!(out, "\"{}\"", IntervalText((self.values)(row)));
    }
}

/// Arrow's formatters and encoders of JSON, with [`IntervalText`] in place of its text.
#[derive(Debug)]
pub struct IntervalFormats;

impl IntervalFormats {
    /// The formatter of a column: arrow asks a factory for what is inside of others only.
    pub fn formatter<'a>(
        array: &'a dyn Array,
        options: &FormatOptions<'a>,
    ) -> Result<ArrayFormatter<'a>, ArrowError> {
        match Self.create_array_formatter(array, options, None)? {
            Some(formatter) => Ok(formatter),
            None => ArrayFormatter::try_new(array, options),
        }
    }
}

impl ArrayFormatterFactory for IntervalFormats {
    fn create_array_formatter<'formatter>(
        &self,
        array: &'formatter dyn Array,
        options: &FormatOptions<'formatter>,
        _: Option<&'formatter Field>,
    ) -> Result<Option<ArrayFormatter<'formatter>>, ArrowError> {
        let found = Intervals::of(array, options.null());
        Ok(found.map(|found| ArrayFormatter::new(Box::new(found), options.safe())))
    }
}

impl EncoderFactory for IntervalFormats {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let found = Intervals::of(array, "");
        Ok(found.map(|found| NullableEncoder::new(Box::new(found), array.nulls().cloned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_sql() {
        for (months, days, nanos, expect) in [
            (0, 1, 81_000 * SECOND, "1 day 22:30:00"),
            (13, -1, SECOND * 3 / 2, "1 year 1 month -1 day 00:00:01.5"),
            (0, 0, 0, "00:00:00"),
            (0, 0, -3600 * SECOND, "-01:00:00"),
            (0, 2, -3 * 3600 * SECOND, "2 days -03:00:00"),
            (0, 0, 360_000 * SECOND, "100:00:00"),
            (-14, 0, 0, "-1 year -2 months"),
            (0, 0, i64::MIN, "-2562047:47:16.854775808"),
        ] {
            let value = IntervalMonthDayNano::new(months, days, nanos);
            assert_eq!(IntervalText(value).to_string(), expect);
        }
    }

    #[test]
    fn a_duration_is_days_and_the_rest() {
        for (value, per_second, expect) in [
            (167_400, 1, "1 day 22:30:00"),
            (-167_400_500, 1000, "-1 day -22:30:00.5"),
            (i64::MAX, 1, "2147483647 days 15:30:07"),
        ] {
            assert_eq!(
                IntervalText(of_duration(value, per_second)).to_string(),
                expect
            );
        }
    }
}
