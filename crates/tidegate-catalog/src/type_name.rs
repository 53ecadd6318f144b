//! The names of SQL types in options such as `partition_types = {year: 'INTEGER'}`.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, TimeUnit};

use crate::error::{Error, Kind, Result};
use crate::near;

const NAMES: [(&str, DataType); 34] = [
    ("boolean", DataType::Boolean),
    ("bool", DataType::Boolean),
    ("tinyint", DataType::Int8),
    ("int1", DataType::Int8),
    ("smallint", DataType::Int16),
    ("int2", DataType::Int16),
    ("integer", DataType::Int32),
    ("int", DataType::Int32),
    ("int4", DataType::Int32),
    ("bigint", DataType::Int64),
    ("int8", DataType::Int64),
    ("long", DataType::Int64),
    ("utinyint", DataType::UInt8),
    ("usmallint", DataType::UInt16),
    ("uinteger", DataType::UInt32),
    ("ubigint", DataType::UInt64),
    ("tinyint unsigned", DataType::UInt8),
    ("smallint unsigned", DataType::UInt16),
    ("integer unsigned", DataType::UInt32),
    ("bigint unsigned", DataType::UInt64),
    ("real", DataType::Float32),
    ("float4", DataType::Float32),
    ("double", DataType::Float64),
    ("double precision", DataType::Float64),
    ("float8", DataType::Float64),
    ("varchar", DataType::Utf8View),
    ("text", DataType::Utf8View),
    ("string", DataType::Utf8View),
    ("char", DataType::Utf8View),
    ("date", DataType::Date32),
    ("time", DataType::Time64(TimeUnit::Microsecond)),
    ("bytea", DataType::BinaryView),
    ("blob", DataType::BinaryView),
    ("float", DataType::Float32),
];

/// The type of this SQL name: `BIGINT`, `decimal(10, 2)`, `TIMESTAMP(3)`, `timestamp with time zone` …
pub(crate) fn parse(text: &str) -> Result<DataType> {
    let low = text.trim().to_ascii_lowercase();
    let low = low.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((_, found)) = NAMES.iter().find(|(name, _)| *name == low) {
        return Ok(found.clone());
    }
    let unknown = || {
        let error = Error::new(Kind::Invalid, format!("`{text}` is not a type"));
        let names =
            NAMES
                .iter()
                .map(|(name, _)| *name)
                .chain(["decimal", "timestamp", "timestamptz"]);
        match near::did_you_mean(&near::near_names(&low, names)) {
            Some(hint) => error.hint(hint),
            None => error.hint("types are BOOLEAN, INTEGER, BIGINT, DECIMAL(p, s), DOUBLE, VARCHAR, DATE, TIME, TIMESTAMP, BYTEA"),
        }
    };
    let (name, numbers, rest) = split(&low).ok_or_else(unknown)?;
    match (name, numbers.as_slice(), rest) {
        ("varchar" | "char", [_], "") => Ok(DataType::Utf8View),
        ("decimal" | "numeric" | "dec", [], "") => Ok(DataType::Decimal128(38, 10)),
        ("decimal" | "numeric" | "dec", [precision], "") => decimal(*precision, 0, text),
        ("decimal" | "numeric" | "dec", [precision, scale], "") => {
            decimal(*precision, *scale, text)
        }
        ("timestamp" | "datetime", digits, "" | "without time zone") => {
            Ok(DataType::Timestamp(unit(digits, text)?, None))
        }
        ("timestamptz", digits, "") | ("timestamp", digits, "with time zone") => Ok(
            DataType::Timestamp(unit(digits, text)?, Some(Arc::from("UTC"))),
        ),
        ("timestamp_s", [], "") => Ok(DataType::Timestamp(TimeUnit::Second, None)),
        ("timestamp_ms", [], "") => Ok(DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("timestamp_us", [], "") => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("timestamp_ns", [], "") => Ok(DataType::Timestamp(TimeUnit::Nanosecond, None)),
        _ => Err(unknown()),
    }
}

/// The first word, the numbers in its parentheses, and what follows.
fn split(text: &str) -> Option<(&str, Vec<u32>, &str)> {
    let end = text.find([' ', '(']).unwrap_or(text.len());
    let (name, rest) = (&text[..end], text[end..].trim_start());
    let Some(inside) = rest.strip_prefix('(') else {
        return Some((name, Vec::new(), rest));
    };
    let (numbers, rest) = inside.split_once(')')?;
    let numbers = numbers
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect::<Option<Vec<u32>>>()?;
    Some((name, numbers, rest.trim_start()))
}

fn decimal(precision: u32, scale: u32, text: &str) -> Result<DataType> {
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=DECIMAL128_MAX_PRECISION), Ok(s)) if scale <= precision => {
            Ok(DataType::Decimal128(p, s))
        }
        (Ok(p @ 1..=DECIMAL256_MAX_PRECISION), Ok(s)) if scale <= precision => {
            Ok(DataType::Decimal256(p, s))
        }
        _ => Err(Error::new(
            Kind::Invalid,
            format!(
                "`{text}` is not a type: a decimal has 1 to 76 digits and no more of them after the point"
            ),
        )),
    }
}

fn unit(digits: &[u32], text: &str) -> Result<TimeUnit> {
    match digits {
        [0] => Ok(TimeUnit::Second),
        [1..=3] => Ok(TimeUnit::Millisecond),
        [] | [4..=6] => Ok(TimeUnit::Microsecond),
        [7..=9] => Ok(TimeUnit::Nanosecond),
        _ => Err(Error::new(
            Kind::Invalid,
            format!("`{text}` is not a type: seconds have 0 to 9 digits"),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::widen::sql_name;

    #[test]
    fn sql_names_are_understood() {
        let same = [
            "BOOLEAN",
            "BIGINT",
            "DECIMAL(10, 2)",
            "DOUBLE",
            "VARCHAR",
            "DATE",
            "TIMESTAMP(3)",
            "TIMESTAMP(6) WITH TIME ZONE",
            "SMALLINT UNSIGNED",
        ];
        for name in same {
            assert_eq!(sql_name(&parse(name).unwrap()), name);
        }
        assert_eq!(
            parse(" timestamp ").unwrap(),
            DataType::Timestamp(TimeUnit::Microsecond, None)
        );
        assert_eq!(parse("numeric(50,1)").unwrap(), DataType::Decimal256(50, 1));
        assert_eq!(parse("varchar(10)").unwrap(), DataType::Utf8View);
    }

    #[test]
    fn unknown_types_have_a_suggestion() {
        assert_eq!(
            parse("integr").unwrap_err().hint.as_deref(),
            Some("did you mean `int`, `integer` or `uinteger`?")
        );
        assert!(parse("decimal(80)").is_err());
        assert!(parse("decimal(2, 3)").is_err());
        assert!(parse("decimal(").is_err());
    }
}
