//! The narrowest type that holds every value of two types without loss. Used to read files as one table
//! whose columns differ in type from file to file.

use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, Fields, TimeUnit,
};

/// The type that holds the values of both exactly, if there is one.
///
/// Integers widen to integers, else to decimals; integers up to 32 bits and float32 to float64; dates to
/// timestamps; decimals to decimals with room for both; the string types to one another; a dictionary to its
/// values; structs field by field and lists by their elements; null to anything.
pub(crate) fn widen(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, value), other) | (other, Dictionary(_, value)) => widen(value, other),
        (RunEndEncoded(_, value), other) | (other, RunEndEncoded(_, value)) => {
            widen(value.data_type(), other)
        }
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => Some(Utf8View),
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => Some(BinaryView),
        (FixedSizeBinary(_), Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
        | (Binary | LargeBinary | BinaryView, FixedSizeBinary(_)) => Some(BinaryView),
        (Date32, Date64) | (Date64, Date32) => Some(Timestamp(TimeUnit::Millisecond, None)),
        (Date32, Timestamp(unit, None)) | (Timestamp(unit, None), Date32) => {
            Some(Timestamp(*unit, None))
        }
        (Date64, Timestamp(unit, None)) | (Timestamp(unit, None), Date64) => {
            Some(Timestamp(finer(*unit, TimeUnit::Millisecond), None))
        }
        (Timestamp(one, zone), Timestamp(other, other_zone)) if zone == other_zone => {
            Some(Timestamp(finer(*one, *other), zone.clone()))
        }
        // Two zones: the instants are the same kind of thing, only their display differs.
        (Timestamp(one, Some(_)), Timestamp(other, Some(_))) => {
            Some(Timestamp(finer(*one, *other), Some("UTC".into())))
        }
        (Duration(one), Duration(other)) => Some(Duration(finer(*one, *other))),
        (Time32(one) | Time64(one), Time32(other) | Time64(other)) => {
            Some(time(finer(*one, *other)))
        }
        (Struct(one), Struct(other)) => fields(one, other).map(Struct),
        (
            List(one) | LargeList(one) | FixedSizeList(one, _),
            List(other) | LargeList(other) | FixedSizeList(other, _),
        ) => {
            let element = widen_field(one, other)?;
            let large = matches!(a, LargeList(_)) || matches!(b, LargeList(_));
            Some(if large {
                LargeList(element)
            } else {
                List(element)
            })
        }
        _ => numbers(a, b),
    }
}

fn numbers(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    if let (Some((signed_a, bits_a)), Some((signed_b, bits_b))) = (integer(a), integer(b)) {
        if signed_a == signed_b {
            return Some(integer_type(signed_a, bits_a.max(bits_b)));
        }
        let unsigned_bits = if signed_a { bits_b } else { bits_a };
        let signed_bits = if signed_a { bits_a } else { bits_b };
        let bits = signed_bits.max(unsigned_bits * 2);
        return Some(if bits <= 64 {
            integer_type(true, bits)
        } else {
            Decimal128(20, 0)
        });
    }
    if let (Some(one), Some(other)) = (exact(a), exact(b)) {
        return decimal(one, other);
    }
    // A float holds every integer whose bits fit its mantissa.
    let mantissa = |t: &DataType| match t {
        Float16 => Some(11),
        Float32 => Some(24),
        Float64 => Some(53),
        _ => None,
    };
    let bits = |t: &DataType| integer(t).map(|(signed, bits)| if signed { bits - 1 } else { bits });
    let needed = mantissa(a)
        .or_else(|| bits(a))?
        .max(mantissa(b).or_else(|| bits(b))?);
    match needed {
        0..=11 => Some(Float16),
        12..=24 => Some(Float32),
        25..=53 => Some(Float64),
        _ => None,
    }
}

/// (signed, bits) of an integer type.
fn integer(t: &DataType) -> Option<(bool, u32)> {
    use DataType::*;
    Some(match t {
        Int8 => (true, 8),
        Int16 => (true, 16),
        Int32 => (true, 32),
        Int64 => (true, 64),
        UInt8 => (false, 8),
        UInt16 => (false, 16),
        UInt32 => (false, 32),
        UInt64 => (false, 64),
        _ => return None,
    })
}

fn integer_type(signed: bool, bits: u32) -> DataType {
    use DataType::*;
    match (signed, bits) {
        (true, ..=8) => Int8,
        (true, 9..=16) => Int16,
        (true, 17..=32) => Int32,
        (true, _) => Int64,
        (false, ..=8) => UInt8,
        (false, 9..=16) => UInt16,
        (false, 17..=32) => UInt32,
        (false, _) => UInt64,
    }
}

/// (digits before the point, digits after it) of an exact number.
fn exact(t: &DataType) -> Option<(i16, i16)> {
    use DataType::*;
    Some(match t {
        Int8 | UInt8 => (3, 0),
        Int16 | UInt16 => (5, 0),
        Int32 | UInt32 => (10, 0),
        Int64 => (19, 0),
        UInt64 => (20, 0),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) => {
            (i16::from(*p) - i16::from(*s), i16::from(*s))
        }
        _ => return None,
    })
}

fn decimal(one: (i16, i16), other: (i16, i16)) -> Option<DataType> {
    let (whole, scale) = (one.0.max(other.0), one.1.max(other.1));
    let precision = u8::try_from(whole + scale).ok()?;
    let scale = i8::try_from(scale).ok()?;
    if precision <= DECIMAL128_MAX_PRECISION {
        Some(DataType::Decimal128(precision.max(1), scale))
    } else if precision <= DECIMAL256_MAX_PRECISION {
        Some(DataType::Decimal256(precision, scale))
    } else {
        None
    }
}

fn finer(one: TimeUnit, other: TimeUnit) -> TimeUnit {
    let rank = |unit: TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(one) >= rank(other) { one } else { other }
}

fn time(unit: TimeUnit) -> DataType {
    match unit {
        TimeUnit::Second | TimeUnit::Millisecond => DataType::Time32(unit),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => DataType::Time64(unit),
    }
}

fn fields(one: &Fields, other: &Fields) -> Option<Fields> {
    let mut merged: Vec<Arc<Field>> = Vec::with_capacity(one.len());
    for field in one {
        merged.push(
            match other.iter().find(|found| found.name() == field.name()) {
                Some(found) => widen_field(field, found)?,
                None => nullable(field),
            },
        );
    }
    let new = other
        .iter()
        .filter(|field| !one.iter().any(|known| known.name() == field.name()));
    merged.extend(new.map(nullable));
    Some(merged.into())
}

fn widen_field(one: &Arc<Field>, other: &Arc<Field>) -> Option<Arc<Field>> {
    let data_type = widen(one.data_type(), other.data_type())?;
    Some(Arc::new(Field::new(
        one.name(),
        data_type,
        one.is_nullable() || other.is_nullable(),
    )))
}

fn nullable(field: &Arc<Field>) -> Arc<Field> {
    Arc::new(field.as_ref().clone().with_nullable(true))
}

/// The type in the words of SQL, for messages.
pub(crate) fn sql_name(t: &DataType) -> String {
    use DataType::*;
    match t {
        Null => "NULL".into(),
        Boolean => "BOOLEAN".into(),
        Int8 => "TINYINT".into(),
        Int16 => "SMALLINT".into(),
        Int32 => "INTEGER".into(),
        Int64 => "BIGINT".into(),
        UInt8 => "TINYINT UNSIGNED".into(),
        UInt16 => "SMALLINT UNSIGNED".into(),
        UInt32 => "INTEGER UNSIGNED".into(),
        UInt64 => "BIGINT UNSIGNED".into(),
        Float16 | Float32 => "REAL".into(),
        Float64 => "DOUBLE".into(),
        Utf8 | LargeUtf8 | Utf8View => "VARCHAR".into(),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "BYTEA".into(),
        Date32 | Date64 => "DATE".into(),
        Time32(_) | Time64(_) => "TIME".into(),
        Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            let zone = if zone.is_some() {
                " WITH TIME ZONE"
            } else {
                ""
            };
            format!("TIMESTAMP({digits}){zone}")
        }
        Duration(_) | Interval(_) => "INTERVAL".into(),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) => {
            format!("DECIMAL({p}, {s})")
        }
        Dictionary(_, value) => sql_name(value),
        RunEndEncoded(_, value) => sql_name(value.data_type()),
        List(field)
        | LargeList(field)
        | FixedSizeList(field, _)
        | ListView(field)
        | LargeListView(field) => {
            format!("{}[]", sql_name(field.data_type()))
        }
        Struct(fields) => {
            let inner: Vec<String> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), sql_name(field.data_type())))
                .collect();
            format!("STRUCT({})", inner.join(", "))
        }
        Map(..) => "MAP".into(),
        Union(..) => "UNION".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;

    #[test]
    fn widening_is_lossless_and_symmetric() {
        let second = Timestamp(TimeUnit::Second, None);
        let table = [
            (Int8, Int64, Some(Int64)),
            (UInt8, Int8, Some(Int16)),
            (UInt32, Int64, Some(Int64)),
            (UInt64, Int64, Some(Decimal128(20, 0))),
            (Int64, Decimal128(10, 2), Some(Decimal128(21, 2))),
            (Decimal64(10, 2), Decimal128(12, 6), Some(Decimal128(14, 6))),
            (
                Decimal128(38, 0),
                Decimal128(38, 10),
                Some(Decimal256(48, 10)),
            ),
            (Decimal256(76, 0), Decimal256(76, 10), None),
            (Float32, Float64, Some(Float64)),
            (Int32, Float64, Some(Float64)),
            (Int32, Float32, Some(Float64)),
            (Int16, Float32, Some(Float32)),
            (UInt32, Float64, Some(Float64)),
            (Int64, Float64, None),
            (Decimal128(4, 2), Float64, None),
            (Date32, second.clone(), Some(second.clone())),
            (
                Date64,
                second.clone(),
                Some(Timestamp(TimeUnit::Millisecond, None)),
            ),
            (
                second.clone(),
                Timestamp(TimeUnit::Nanosecond, None),
                Some(Timestamp(TimeUnit::Nanosecond, None)),
            ),
            (
                second.clone(),
                Timestamp(TimeUnit::Second, Some("UTC".into())),
                None,
            ),
            (Utf8, LargeUtf8, Some(Utf8View)),
            (
                Dictionary(Box::new(Int8), Box::new(Utf8)),
                Utf8View,
                Some(Utf8View),
            ),
            (Null, Boolean, Some(Boolean)),
            (Utf8, Int64, None),
            (Boolean, Int8, None),
        ];
        for (a, b, expect) in table {
            assert_eq!(widen(&a, &b), expect, "{a} {b}");
            assert_eq!(widen(&b, &a), expect, "{b} {a}");
        }
    }

    #[test]
    fn nested_types_widen_inside() {
        let list = |t: DataType| List(Arc::new(Field::new("item", t, true)));
        assert_eq!(widen(&list(Int8), &list(Int32)), Some(list(Int32)));
        assert_eq!(widen(&list(Int8), &list(Utf8)), None);
        let one = Struct(vec![Field::new("a", Int8, false)].into());
        let two = Struct(vec![Field::new("b", Utf8, false), Field::new("a", Int16, false)].into());
        let both = Struct(vec![Field::new("a", Int16, false), Field::new("b", Utf8, true)].into());
        assert_eq!(widen(&one, &two), Some(both));
    }
}
