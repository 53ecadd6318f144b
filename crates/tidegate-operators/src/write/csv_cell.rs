//! The text of single values: exact, and read back as they were. Floats in the shortest form that
//! gives the same bits, timestamps as ISO 8601 with a blank in the middle, binary with `\xNN` for
//! what is not printable, nested values as JSON.

use std::io::Write;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, Decimal256Type, DecimalType, Field, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::util::display::FormatOptions;
use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset, TimeZone};

use super::encode::column_error;
use super::error::{Error, Result};
use super::format::CsvOptions;
use super::json;
use crate::csv::{days_of, instant_of};
use crate::interval_text::IntervalFormats;

const NANOS: i64 = 1_000_000_000;
const DAY_SECONDS: i64 = 86_400;

/// Writes the value of a row, which is not NULL.
pub(super) type CellWriter<'a> = Box<dyn FnMut(usize, &mut Vec<u8>) -> Result<()> + 'a>;

/// What can be said about the text of values.
pub(super) struct CellFormat {
    date: Option<String>,
    timestamp: Option<String>,
    decimal_separator: u8,
    /// A value whose text in the user's format says something else is an error.
    exact: bool,
    nested: EncoderOptions,
}

impl Default for CellFormat {
    fn default() -> Self {
        Self::new(&CsvOptions::default())
    }
}

impl CellFormat {
    pub(super) fn new(options: &CsvOptions) -> Self {
        Self {
            date: options.date_format.clone(),
            timestamp: options.timestamp_format.clone(),
            decimal_separator: options.decimal_separator,
            exact: options.table.is_some(),
            nested: json::nested_options(),
        }
    }
}

/// A writer of the values of one column.
pub(super) fn cell_writer<'a>(
    field: &'a Arc<Field>,
    array: &'a ArrayRef,
    format: &'a CellFormat,
) -> Result<CellWriter<'a>> {
    use DataType as T;
    let point = format.decimal_separator;
    Ok(match array.data_type() {
        T::Int8 => integers::<Int8Type>(array),
        T::Int16 => integers::<Int16Type>(array),
        T::Int32 => integers::<Int32Type>(array),
        T::Int64 => integers::<Int64Type>(array),
        T::UInt8 => integers::<UInt8Type>(array),
        T::UInt16 => integers::<UInt16Type>(array),
        T::UInt32 => integers::<UInt32Type>(array),
        T::UInt64 => integers::<UInt64Type>(array),
        T::Float16 => {
            let values = array.as_primitive::<Float16Type>();
            Box::new(move |row, out| push_float(out, values.value(row).to_f32(), point))
        }
        T::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Box::new(move |row, out| push_float(out, values.value(row), point))
        }
        T::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Box::new(move |row, out| push_float(out, values.value(row), point))
        }
        T::Boolean => {
            let values = array.as_boolean();
            Box::new(|row, out| push(out, if values.value(row) { b"true" } else { b"false" }))
        }
        T::Utf8 => {
            let values = array.as_string::<i32>();
            Box::new(|row, out| push(out, values.value(row).as_bytes()))
        }
        T::LargeUtf8 => {
            let values = array.as_string::<i64>();
            Box::new(|row, out| push(out, values.value(row).as_bytes()))
        }
        T::Utf8View => {
            let values = array.as_string_view();
            Box::new(|row, out| push(out, values.value(row).as_bytes()))
        }
        T::Binary => {
            let values = array.as_binary::<i32>();
            Box::new(|row, out| push_binary(out, values.value(row)))
        }
        T::LargeBinary => {
            let values = array.as_binary::<i64>();
            Box::new(|row, out| push_binary(out, values.value(row)))
        }
        T::BinaryView => {
            let values = array.as_binary_view();
            Box::new(|row, out| push_binary(out, values.value(row)))
        }
        T::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            Box::new(|row, out| push_binary(out, values.value(row)))
        }
        T::Decimal32(..) => decimals::<Decimal32Type>(array, point),
        T::Decimal64(..) => decimals::<Decimal64Type>(array, point),
        T::Decimal128(..) => decimals::<Decimal128Type>(array, point),
        T::Decimal256(..) => decimals::<Decimal256Type>(array, point),
        kind if kind.is_nested() => nested(field, array, format)?,
        _ => temporal(field, array, format)?,
    })
}

fn temporal<'a>(
    field: &'a Field,
    array: &'a ArrayRef,
    format: &'a CellFormat,
) -> Result<CellWriter<'a>> {
    use DataType as T;
    Ok(match array.data_type() {
        T::Date32 => {
            let values = array.as_primitive::<Date32Type>();
            let seconds = |row| i64::from(values.value(row)) * DAY_SECONDS;
            match &format.date {
                None => Box::new(move |row, out| push_date(out, i64::from(values.value(row)))),
                Some(text) => Box::new(move |row, out| {
                    let start = out.len();
                    push_formatted(out, field, text, (seconds(row), 0), None)?;
                    let says = |written: &[u8]| days_of(written, text);
                    match format.exact && says(&out[start..]) != Some(values.value(row).into()) {
                        true => Err(inexact(field, text, &out[start..])),
                        false => Ok(()),
                    }
                }),
            }
        }
        T::Date64 => {
            let values = array.as_primitive::<Date64Type>();
            Box::new(|row, out| push_timestamp(out, values.value(row), 1000, None))
        }
        T::Time32(TimeUnit::Second) => times::<Time32SecondType>(array, NANOS),
        T::Time32(_) => times::<Time32MillisecondType>(array, 1_000_000),
        T::Time64(TimeUnit::Microsecond) => times::<Time64MicrosecondType>(array, 1000),
        T::Time64(_) => times::<Time64NanosecondType>(array, 1),
        T::Timestamp(unit, zone) => {
            let zone = zone.as_deref().map(str::parse::<Tz>).transpose();
            let zone = zone.map_err(|error| column_error(field, "csv", &error.to_string()))?;
            match unit {
                TimeUnit::Second => {
                    timestamps::<TimestampSecondType>(field, array, (1, zone), format)
                }
                TimeUnit::Millisecond => {
                    timestamps::<TimestampMillisecondType>(field, array, (1000, zone), format)
                }
                TimeUnit::Microsecond => {
                    timestamps::<TimestampMicrosecondType>(field, array, (1_000_000, zone), format)
                }
                TimeUnit::Nanosecond => {
                    timestamps::<TimestampNanosecondType>(field, array, (NANOS, zone), format)
                }
            }
        }
        T::Null => Box::new(|_, _| Ok(())),
        _ => {
            let formatter = IntervalFormats::formatter(array.as_ref(), &FormatOptions::new());
            let formatter =
                formatter.map_err(|error| column_error(field, "csv", &error.to_string()))?;
            Box::new(move |row, out| write_to(out, format_args!("{}", formatter.value(row))))
        }
    })
}

fn nested<'a>(
    field: &'a Arc<Field>,
    array: &'a ArrayRef,
    format: &'a CellFormat,
) -> Result<CellWriter<'a>> {
    let encoder = make_encoder(field, array.as_ref(), &format.nested);
    let mut encoder = encoder.map_err(|error| column_error(field, "csv", &error.to_string()))?;
    Ok(Box::new(move |row, out| {
        encoder.encode(row, out);
        Ok(())
    }))
}

fn integers<T: ArrowPrimitiveType>(array: &ArrayRef) -> CellWriter<'_>
where
    T::Native: std::fmt::Display,
{
    let values = array.as_primitive::<T>();
    Box::new(|row, out| write_to(out, format_args!("{}", values.value(row))))
}

fn decimals<T: DecimalType + ArrowPrimitiveType>(array: &ArrayRef, point: u8) -> CellWriter<'_> {
    let values: &PrimitiveArray<T> = array.as_primitive::<T>();
    Box::new(move |row, out| {
        let start = out.len();
        push(out, values.value_as_string(row).as_bytes())?;
        set_point(&mut out[start..], point);
        Ok(())
    })
}

/// Writes a number's point as readers expect it.
fn set_point(number: &mut [u8], point: u8) {
    if point != b'.'
        && let Some(at) = memchr::memchr(b'.', number)
    {
        number[at] = point;
    }
}

fn times<T: ArrowPrimitiveType>(array: &ArrayRef, nanos_each: i64) -> CellWriter<'_>
where
    T::Native: Into<i64>,
{
    let values = array.as_primitive::<T>();
    Box::new(move |row, out| push_time(out, values.value(row).into() * nanos_each))
}

fn timestamps<'a, T: ArrowPrimitiveType<Native = i64>>(
    field: &'a Field,
    array: &'a ArrayRef,
    (per_second, zone): (i64, Option<Tz>),
    format: &'a CellFormat,
) -> CellWriter<'a> {
    let values = array.as_primitive::<T>();
    Box::new(move |row, out| {
        let value = values.value(row);
        let offset = match zone {
            Some(zone) => Some(offset_at(field, zone, value.div_euclid(per_second))?),
            None => None,
        };
        match &format.timestamp {
            None => push_timestamp(out, value, per_second, offset),
            Some(text) => {
                let start = out.len();
                let instant = (
                    value.div_euclid(per_second),
                    value.rem_euclid(per_second) * (NANOS / per_second),
                );
                push_formatted(out, field, text, instant, offset)?;
                match format.exact && instant_of(&out[start..], text) != Some(instant) {
                    true => Err(inexact(field, text, &out[start..])),
                    false => Ok(()),
                }
            }
        }
    })
}

/// Seconds east of Greenwich at an instant.
fn offset_at(field: &Field, zone: Tz, seconds: i64) -> Result<i64> {
    let instant = instant(field, seconds, 0)?;
    Ok(i64::from(
        zone.offset_from_utc_datetime(&instant)
            .fix()
            .local_minus_utc(),
    ))
}

fn instant(field: &Field, seconds: i64, nanos: i64) -> Result<NaiveDateTime> {
    let instant = DateTime::from_timestamp(seconds, nanos as u32);
    let out_of_range = || {
        column_error(
            field,
            "csv",
            "a timestamp is out of the range of the calendar",
        )
    };
    instant
        .map(|instant| instant.naive_utc())
        .ok_or_else(out_of_range)
}

/// An instant in the user's format, in the zone that is so many seconds east of Greenwich.
fn push_formatted(
    out: &mut Vec<u8>,
    field: &Field,
    format: &str,
    (seconds, nanos): (i64, i64),
    offset: Option<i64>,
) -> Result<()> {
    let instant = instant(field, seconds, nanos)?;
    let zone = offset.and_then(|offset| FixedOffset::east_opt(i32::try_from(offset).ok()?));
    // A format that asks for a zone fails in writing, not in parsing.
    let written = match zone {
        Some(zone) => write!(out, "{}", zone.from_utc_datetime(&instant).format(format)),
        None => write!(out, "{}", instant.format(format)),
    };
    written.map_err(|_| {
        column_error(
            field,
            "csv",
            "the format asks for something the value does not have",
        )
    })
}

/// A table would read another value from what the format keeps of this one.
fn inexact(field: &Field, format: &str, written: &[u8]) -> Error {
    let written = String::from_utf8_lossy(written);
    let why = format!("the table's format `{format}` does not keep all of a value: `{written}`");
    column_error(field, "csv", &why)
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    out.extend_from_slice(bytes);
    Ok(())
}

fn write_to(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) -> Result<()> {
    out.write_fmt(arguments).map_err(|error| Error::Encode {
        format: "csv",
        why: error.to_string(),
    })
}

fn push_float<F: std::fmt::Debug>(out: &mut Vec<u8>, value: F, point: u8) -> Result<()> {
    let start = out.len();
    write_to(out, format_args!("{value:?}"))?;
    set_point(&mut out[start..], point);
    if out[start..].ends_with(b"NaN") {
        out.truncate(start);
        out.extend_from_slice(b"nan");
    }
    Ok(())
}

fn push_binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'\\' => out.push(*byte),
            _ => write_to(out, format_args!("\\x{byte:02X}"))?,
        }
    }
    Ok(())
}

/// The text of a timestamp.
pub(crate) fn timestamp_cell(value: i64, per_second: i64, offset: Option<i64>) -> String {
    let mut out = Vec::new();
    // Writing into a vector cannot fail, and what is written are digits.
    let _ = push_timestamp(&mut out, value, per_second, offset);
    String::from_utf8(out).unwrap_or_default()
}

fn push_timestamp(
    out: &mut Vec<u8>,
    value: i64,
    per_second: i64,
    offset: Option<i64>,
) -> Result<()> {
    let seconds = value.div_euclid(per_second) + offset.unwrap_or(0);
    let nanos = value.rem_euclid(per_second) * (NANOS / per_second);
    push_date(out, seconds.div_euclid(DAY_SECONDS))?;
    out.push(b' ');
    push_time(out, seconds.rem_euclid(DAY_SECONDS) * NANOS + nanos)?;
    match offset {
        Some(offset) => push_offset(out, offset),
        None => Ok(()),
    }
}

/// Days since 1970 as a date of the Gregorian calendar, with the algorithm of Howard Hinnant.
fn push_date(out: &mut Vec<u8>, days: i64) -> Result<()> {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if year < 0 {
        out.push(b'-');
    }
    write_to(out, format_args!("{:04}-{month:02}-{day:02}", year.abs()))
}

/// Nanoseconds since midnight; the fraction without its last zeroes.
fn push_time(out: &mut Vec<u8>, nanos: i64) -> Result<()> {
    let (seconds, fraction) = (nanos / NANOS, nanos % NANOS);
    write_to(
        out,
        format_args!(
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        ),
    )?;
    if fraction != 0 {
        write_to(out, format_args!(".{fraction:09}"))?;
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    Ok(())
}

/// `+01`, or `+05:30` where minutes matter.
fn push_offset(out: &mut Vec<u8>, offset: i64) -> Result<()> {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    write_to(out, format_args!("{sign}{:02}", minutes / 60))?;
    match minutes % 60 {
        0 => Ok(()),
        minutes => write_to(out, format_args!(":{minutes:02}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for days in [
            -1_000_000, -719_528, -719_163, -1, 0, 59, 11_016, 19_782, 2_932_896,
        ] {
            let mut out = Vec::new();
            push_date(&mut out, days).unwrap();
            let date = DateTime::from_timestamp(days * DAY_SECONDS, 0)
                .unwrap()
                .date_naive();
            assert_eq!(String::from_utf8(out).unwrap(), date.to_string(), "{days}");
        }
    }

    #[test]
    fn timestamps_keep_their_fraction_and_no_more() {
        let text = |value, per_second, offset| {
            let mut out = Vec::new();
            push_timestamp(&mut out, value, per_second, offset).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0, 1, None), "1970-01-01 00:00:00");
        assert_eq!(text(-1, 1000, None), "1969-12-31 23:59:59.999");
        assert_eq!(
            text(1_500_000, 1_000_000, Some(19_800)),
            "1970-01-01 05:30:01.5+05:30"
        );
        assert_eq!(
            text(i64::MIN, NANOS, Some(0)),
            "1677-09-21 00:12:43.145224192+00"
        );
        assert_eq!(text(0, 1, Some(-3600)), "1969-12-31 23:00:00-01");
    }
}
