//! A column of each type that a key can have.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::*;

const LONG: &str = "a text that is longer than what fits into a view";

/// Their names, and five values each; the last one is NULL.
pub(crate) fn columns() -> Vec<(&'static str, ArrayRef)> {
    let mut all = numbers();
    all.extend(times());
    all.extend(texts());
    all.extend(nested());
    all
}

fn primitive<T: ArrowPrimitiveType>(values: [T::Native; 4]) -> ArrayRef {
    let values = values.into_iter().map(Some).chain([None]);
    Arc::new(PrimitiveArray::<T>::from_iter(values))
}

fn numbers() -> Vec<(&'static str, ArrayRef)> {
    let bools = [Some(true), Some(false), Some(true), Some(false), None];
    let wide = [0, 1, -1, i128::MAX].map(i256::from_i128);
    let decimal = Decimal128Array::from_iter([Some(0), Some(1), Some(-1), Some(12345), None]);
    let decimal256 = Decimal256Array::from_iter(wide.into_iter().map(Some).chain([None]));
    vec![
        ("boolean", Arc::new(BooleanArray::from(bools.to_vec()))),
        ("int8", primitive::<Int8Type>([0, 1, -1, i8::MAX])),
        ("int16", primitive::<Int16Type>([0, 1, -1, i16::MAX])),
        ("int32", primitive::<Int32Type>([0, 1, -1, i32::MAX])),
        ("int64", primitive::<Int64Type>([0, 1, -1, i64::MAX])),
        ("uint8", primitive::<UInt8Type>([0, 1, 2, u8::MAX])),
        ("uint16", primitive::<UInt16Type>([0, 1, 2, u16::MAX])),
        ("uint32", primitive::<UInt32Type>([0, 1, 2, u32::MAX])),
        ("uint64", primitive::<UInt64Type>([0, 1, 2, u64::MAX])),
        (
            "float32",
            primitive::<Float32Type>([0.0, -0.0, 1.5, f32::NAN]),
        ),
        (
            "float64",
            primitive::<Float64Type>([0.0, -0.0, 1.5, f64::NAN]),
        ),
        ("float64 infinite", {
            primitive::<Float64Type>([f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 1e300])
        }),
        (
            "decimal128",
            Arc::new(decimal.with_precision_and_scale(20, 3).unwrap()),
        ),
        (
            "decimal256",
            Arc::new(decimal256.with_precision_and_scale(60, 3).unwrap()),
        ),
        ("null", Arc::new(NullArray::new(5))),
    ]
}

fn times() -> Vec<(&'static str, ArrayRef)> {
    let micros = [0, 1, -1, 1_700_000_000_000_000];
    let zoned = primitive::<TimestampMicrosecondType>(micros);
    let zoned = zoned.as_primitive::<TimestampMicrosecondType>().clone();
    let spans = [(0, 0, 0), (1, 0, 0), (0, 30, 0), (-1, 2, 3)];
    let spans = spans.map(|(m, d, n)| IntervalMonthDayNano::new(m, d, n));
    let short = [(0, 0), (1, 0), (0, 86_400_000), (-1, 2)].map(|(d, m)| IntervalDayTime::new(d, m));
    vec![
        ("date32", primitive::<Date32Type>([0, 1, -1, 20_000])),
        (
            "date64",
            primitive::<Date64Type>([0, 86_400_000, -86_400_000, 1]),
        ),
        ("time32 s", primitive::<Time32SecondType>([0, 1, 2, 86_399])),
        (
            "time32 ms",
            primitive::<Time32MillisecondType>([0, 1, 2, 86_399_999]),
        ),
        (
            "time64 us",
            primitive::<Time64MicrosecondType>([0, 1, 2, 86_399_999_999]),
        ),
        (
            "time64 ns",
            primitive::<Time64NanosecondType>([0, 1, 2, 86_399_999_999_999]),
        ),
        (
            "timestamp s",
            primitive::<TimestampSecondType>([0, 1, -1, 1_700_000_000]),
        ),
        (
            "timestamp ms",
            primitive::<TimestampMillisecondType>([0, 1, -1, 1_700_000_000_000]),
        ),
        (
            "timestamp us",
            primitive::<TimestampMicrosecondType>(micros),
        ),
        ("timestamp ns", primitive::<TimestampNanosecondType>(micros)),
        (
            "timestamp us zone",
            Arc::new(zoned.with_timezone("Europe/Berlin")),
        ),
        (
            "interval months",
            primitive::<IntervalYearMonthType>([0, 1, -1, 12]),
        ),
        ("interval days", primitive::<IntervalDayTimeType>(short)),
        ("interval all", primitive::<IntervalMonthDayNanoType>(spans)),
        ("duration us", primitive::<DurationMicrosecondType>(micros)),
    ]
}

fn text() -> ArrayRef {
    let values = [Some(""), Some("a"), Some("twelve bytes"), Some(LONG), None];
    Arc::new(StringArray::from(values.to_vec()))
}

fn to(array: &ArrayRef, kind: DataType) -> ArrayRef {
    cast(array, &kind).unwrap()
}

fn texts() -> Vec<(&'static str, ArrayRef)> {
    let text = text();
    let fixed = [
        Some(b"abc"),
        Some(b"abd"),
        Some(b"\0\0\0"),
        Some(b"zzz"),
        None,
    ];
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed.into_iter(), 3);
    vec![
        ("utf8", Arc::clone(&text)),
        ("large utf8", to(&text, DataType::LargeUtf8)),
        ("utf8 view", to(&text, DataType::Utf8View)),
        ("binary", to(&text, DataType::Binary)),
        ("large binary", to(&text, DataType::LargeBinary)),
        (
            "binary view",
            to(&to(&text, DataType::Binary), DataType::BinaryView),
        ),
        ("fixed binary", Arc::new(fixed.unwrap())),
        ("dictionary of utf8", dictionary(&text)),
        (
            "dictionary of int64",
            dictionary(&primitive::<Int64Type>([0, 1, -1, 7])),
        ),
    ]
}

/// The same values in a dictionary.
pub(crate) fn dictionary(values: &ArrayRef) -> ArrayRef {
    let kind = Box::new(values.data_type().clone());
    to(
        values,
        DataType::Dictionary(Box::new(DataType::Int32), kind),
    )
}

fn list(values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([0, 1, 2, 2, 0]);
    let nulls = NullBuffer::from(vec![true, true, true, true, false]);
    Arc::new(ListArray::new(field, offsets, values, Some(nulls)))
}

fn nested() -> Vec<(&'static str, ArrayRef)> {
    let (numbers, text) = (primitive::<Int64Type>([0, 1, -1, 7]), text());
    let views = to(&text, DataType::Utf8View);
    let field = |name, array: &ArrayRef| Field::new(name, array.data_type().clone(), true);
    let fields = Fields::from(vec![field("n", &numbers), field("t", &views)]);
    let nulls = NullBuffer::from(vec![true, true, true, true, false]);
    let parts = vec![Arc::clone(&numbers), Arc::clone(&views)];
    let rows: ArrayRef = Arc::new(StructArray::new(fields, parts, Some(nulls)));
    let large = list(Arc::clone(&numbers));
    let item = Arc::new(Field::new_list_field(DataType::Int64, true));
    vec![
        ("list of int64", list(numbers)),
        ("list of utf8", list(text)),
        ("list of utf8 view", list(views)),
        ("list of structs", list(Arc::clone(&rows))),
        (
            "large list of int64",
            to(&large, DataType::LargeList(Arc::clone(&item))),
        ),
        ("struct", rows),
    ]
}
