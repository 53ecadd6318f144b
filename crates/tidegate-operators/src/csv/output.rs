//! A column being built: values go in by tiles, an array comes out.

use std::sync::Arc;

use arrow::array::NullBufferBuilder;
use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Decimal128Array, LargeStringArray,
    PrimitiveArray, StringArray, StringViewArray, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;

/// Values so far, by their type.
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    View {
        views: Vec<u128>,
        bytes: Vec<u8>,
    },
    Text {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    LargeText {
        ends: Vec<i64>,
        bytes: Vec<u8>,
    },
    /// Nothing but NULL.
    Nothing(usize),
}

/// A column being built.
pub(super) struct Output {
    pub(super) values: Values,
    pub(super) nulls: NullBufferBuilder,
    kind: DataType,
    rows_expected: usize,
}

/// How far a column was at some time.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    rows: usize,
    bytes: usize,
}

impl Output {
    /// None when values of this type cannot be read from text here.
    pub(super) fn new(kind: &DataType, rows_expected: usize) -> Option<Self> {
        Some(Self {
            values: Values::new(kind, rows_expected)?,
            nulls: NullBufferBuilder::new(rows_expected),
            kind: kind.clone(),
            rows_expected,
        })
    }

    /// Nothing but NULL, of any type.
    pub(super) fn missing(kind: &DataType) -> Self {
        Self {
            values: Values::Nothing(0),
            nulls: NullBufferBuilder::new(0),
            kind: kind.clone(),
            rows_expected: 0,
        }
    }

    pub(super) fn mark(&self) -> Mark {
        let rows = match &self.values {
            Values::Nothing(rows) => *rows,
            _ => self.nulls.len(),
        };
        Mark {
            rows,
            bytes: self.text_bytes(),
        }
    }

    /// Bytes of text so far.
    pub(super) fn text_bytes(&self) -> usize {
        match &self.values {
            Values::View { bytes, .. }
            | Values::Text { bytes, .. }
            | Values::LargeText { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }

    /// Takes back what was added since `mark`.
    pub(super) fn truncate(&mut self, mark: Mark) {
        self.nulls.truncate(mark.rows);
        let rows = mark.rows;
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Int8(values) => values.truncate(rows),
            Values::Int16(values) => values.truncate(rows),
            Values::Int32(values) | Values::Date(values) => values.truncate(rows),
            Values::Int64(values) | Values::Timestamp(values) => values.truncate(rows),
            Values::UInt8(values) => values.truncate(rows),
            Values::UInt16(values) => values.truncate(rows),
            Values::UInt32(values) => values.truncate(rows),
            Values::UInt64(values) => values.truncate(rows),
            Values::Float32(values) => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Decimal(values) => values.truncate(rows),
            Values::View { views, bytes } => {
                views.truncate(rows);
                bytes.truncate(mark.bytes);
            }
            Values::Text { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(mark.bytes);
            }
            Values::LargeText { ends, bytes } => {
                ends.truncate(rows + 1);
                bytes.truncate(mark.bytes);
            }
            Values::Nothing(count) => *count = rows,
        }
    }

    /// The array, leaving the column empty.
    pub(super) fn finish(&mut self) -> ArrayRef {
        self.values.shrink();
        let nulls = self.nulls.finish();
        let fresh = match &self.values {
            Values::Nothing(_) => Values::Nothing(0),
            _ => Values::new(&self.kind, self.rows_expected).unwrap_or(Values::Nothing(0)),
        };
        std::mem::replace(&mut self.values, fresh).finish(&self.kind, nulls)
    }
}

impl Values {
    fn new(kind: &DataType, rows: usize) -> Option<Self> {
        Some(match kind {
            DataType::Boolean => Self::Boolean(BooleanBufferBuilder::new(rows)),
            DataType::Int8 => Self::Int8(Vec::with_capacity(rows)),
            DataType::Int16 => Self::Int16(Vec::with_capacity(rows)),
            DataType::Int32 => Self::Int32(Vec::with_capacity(rows)),
            DataType::Int64 => Self::Int64(Vec::with_capacity(rows)),
            DataType::UInt8 => Self::UInt8(Vec::with_capacity(rows)),
            DataType::UInt16 => Self::UInt16(Vec::with_capacity(rows)),
            DataType::UInt32 => Self::UInt32(Vec::with_capacity(rows)),
            DataType::UInt64 => Self::UInt64(Vec::with_capacity(rows)),
            DataType::Float32 => Self::Float32(Vec::with_capacity(rows)),
            DataType::Float64 => Self::Float64(Vec::with_capacity(rows)),
            DataType::Decimal128(_, 0..) => Self::Decimal(Vec::with_capacity(rows)),
            DataType::Date32 => Self::Date(Vec::with_capacity(rows)),
            DataType::Timestamp(..) => Self::Timestamp(Vec::with_capacity(rows)),
            DataType::Utf8View => Self::View {
                views: Vec::with_capacity(rows),
                bytes: Vec::new(),
            },
            DataType::Utf8 => Self::Text {
                ends: starts(rows),
                bytes: Vec::new(),
            },
            DataType::LargeUtf8 => Self::LargeText {
                ends: starts(rows),
                bytes: Vec::new(),
            },
            _ => return None,
        })
    }

    /// Gives back memory that a small batch does not need.
    fn shrink(&mut self) {
        fn sparse<T>(values: &mut Vec<T>) {
            if values.len() < values.capacity() / 2 {
                values.shrink_to_fit();
            }
        }
        match self {
            Self::Boolean(_) | Self::Nothing(_) => {}
            Self::Int8(values) => sparse(values),
            Self::Int16(values) => sparse(values),
            Self::Int32(values) | Self::Date(values) => sparse(values),
            Self::Int64(values) | Self::Timestamp(values) => sparse(values),
            Self::UInt8(values) => sparse(values),
            Self::UInt16(values) => sparse(values),
            Self::UInt32(values) => sparse(values),
            Self::UInt64(values) => sparse(values),
            Self::Float32(values) => sparse(values),
            Self::Float64(values) => sparse(values),
            Self::Decimal(values) => sparse(values),
            Self::View { views, bytes } => {
                sparse(views);
                sparse(bytes);
            }
            Self::Text { ends, bytes } => {
                sparse(ends);
                sparse(bytes);
            }
            Self::LargeText { ends, bytes } => {
                sparse(ends);
                sparse(bytes);
            }
        }
    }

    fn finish(self, kind: &DataType, nulls: Option<NullBuffer>) -> ArrayRef {
        match self {
            Self::Boolean(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Self::Int8(values) => primitive::<Int8Type>(values, nulls),
            Self::Int16(values) => primitive::<Int16Type>(values, nulls),
            Self::Int32(values) => primitive::<Int32Type>(values, nulls),
            Self::Int64(values) => primitive::<Int64Type>(values, nulls),
            Self::UInt8(values) => primitive::<UInt8Type>(values, nulls),
            Self::UInt16(values) => primitive::<UInt16Type>(values, nulls),
            Self::UInt32(values) => primitive::<UInt32Type>(values, nulls),
            Self::UInt64(values) => primitive::<UInt64Type>(values, nulls),
            Self::Float32(values) => primitive::<Float32Type>(values, nulls),
            Self::Float64(values) => primitive::<Float64Type>(values, nulls),
            Self::Date(values) => primitive::<Date32Type>(values, nulls),
            Self::Decimal(values) => {
                let array = Decimal128Array::new(ScalarBuffer::from(values), nulls);
                Arc::new(array.with_data_type(kind.clone()))
            }
            Self::Timestamp(values) => timestamps(values, nulls, kind),
            Self::View { views, bytes } => {
                let buffers = if bytes.is_empty() {
                    vec![]
                } else {
                    vec![Buffer::from_vec(bytes)]
                };
                // SAFETY: the block was validated as UTF-8 and fields end at ASCII bytes; long views name
                // places in the one buffer that `views` was built with.
                Arc::new(unsafe {
                    StringViewArray::new_unchecked(ScalarBuffer::from(views), buffers, nulls)
                })
            }
            Self::Text { ends, bytes } => {
                // SAFETY: offsets rise from zero to the buffer's length; UTF-8 as above.
                Arc::new(unsafe {
                    let offsets = OffsetBuffer::new_unchecked(ScalarBuffer::from(ends));
                    StringArray::new_unchecked(offsets, Buffer::from_vec(bytes), nulls)
                })
            }
            Self::LargeText { ends, bytes } => {
                // SAFETY: as for the narrow one.
                Arc::new(unsafe {
                    let offsets = OffsetBuffer::new_unchecked(ScalarBuffer::from(ends));
                    LargeStringArray::new_unchecked(offsets, Buffer::from_vec(bytes), nulls)
                })
            }
            Self::Nothing(rows) => new_null_array(kind, rows),
        }
    }
}

fn starts<T: From<u8>>(rows: usize) -> Vec<T> {
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(T::from(0));
    ends
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls))
}

fn timestamps(values: Vec<i64>, nulls: Option<NullBuffer>, kind: &DataType) -> ArrayRef {
    fn with<T: ArrowTimestampType>(
        values: Vec<i64>,
        nulls: Option<NullBuffer>,
        zone: Option<Arc<str>>,
    ) -> ArrayRef {
        Arc::new(
            PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_timezone_opt(zone),
        )
    }
    let DataType::Timestamp(unit, zone) = kind.clone() else {
        return primitive::<Int64Type>(values, nulls);
    };
    match unit {
        TimeUnit::Second => with::<TimestampSecondType>(values, nulls, zone),
        TimeUnit::Millisecond => with::<TimestampMillisecondType>(values, nulls, zone),
        TimeUnit::Microsecond => with::<TimestampMicrosecondType>(values, nulls, zone),
        TimeUnit::Nanosecond => with::<TimestampNanosecondType>(values, nulls, zone),
    }
}

/// A view of `bytes`, which is at `start` of `data` and stays there; a long one is copied to `kept`.
#[inline(always)]
pub(super) fn view(data: &[u8], start: usize, end: usize, kept: &mut Vec<u8>) -> u128 {
    let length = end - start;
    let head = match data.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
        Some(head) => u128::from_le_bytes(*head),
        None => {
            let rest = &data[start..];
            let mut head = [0; 16];
            head[..rest.len()].copy_from_slice(rest);
            u128::from_le_bytes(head)
        }
    };
    if length <= 12 {
        let text = if length == 0 {
            0
        } else {
            head & (!0 >> (128 - 8 * length))
        };
        return text << 32 | length as u128;
    }
    let offset = kept.len() as u128;
    kept.extend_from_slice(&data[start..end]);
    offset << 96 | (head & 0xffff_ffff) << 32 | length as u128
}
