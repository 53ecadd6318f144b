//! From the columns of a file to the columns of the table: by name, and without loss.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use datafusion::error::Result;

use super::RecordSource;
use crate::floats::rows_with_one_nan;
use crate::input::{Error, Place};

/// True if every value of type `from` is exactly a value of type `to`.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    if from == to || *from == Null {
        return true;
    }
    match (from, to) {
        (Dictionary(_, value), to) => widens(value, to),
        (from, Dictionary(_, value)) => widens(from, value),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_),
            Binary | LargeBinary | BinaryView,
        ) => true,
        (from, to) if from.is_integer() => match to {
            to if to.is_integer() => {
                let (bits_from, bits_to) = (bits(from), bits(to));
                match (from.is_signed_integer(), to.is_signed_integer()) {
                    (a, b) if a == b => bits_from <= bits_to,
                    (false, true) => bits_from < bits_to,
                    _ => false,
                }
            }
            Float32 => bits(from) <= 16,
            Float64 => bits(from) <= 32,
            Decimal128(p, s) | Decimal256(p, s) => {
                let digits = match bits(from) {
                    8 => 3,
                    16 => 5,
                    32 => 10,
                    _ => 20 - i32::from(from.is_signed_integer()),
                };
                i32::from(*p) - i32::from(*s) >= digits
            }
            _ => false,
        },
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (
            Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s),
            Decimal128(q, t) | Decimal256(q, t),
        ) => t >= s && i32::from(*q) - i32::from(*t) >= i32::from(*p) - i32::from(*s),
        (Date32, Date64) => true,
        (Date32 | Date64, Timestamp(unit, None)) => *unit != TimeUnit::Nanosecond,
        (Timestamp(a, zone), Timestamp(b, other)) => a <= b && zone.is_some() == other.is_some(),
        (Time32(_), Time64(_)) => true,
        (List(a) | LargeList(a) | FixedSizeList(a, _), List(b) | LargeList(b)) => {
            widens(a.data_type(), b.data_type())
        }
        (Struct(a), Struct(b)) => a.iter().all(|field| {
            b.find(field.name())
                .is_some_and(|(_, to)| widens(field.data_type(), to.data_type()))
        }),
        (Map(a, _), Map(b, _)) => widens(a.data_type(), b.data_type()),
        // Everything that is one word has one text.
        (Boolean | Date32, Utf8 | LargeUtf8 | Utf8View) => true,
        _ => false,
    }
}

fn bits(integer: &DataType) -> usize {
    integer.primitive_width().unwrap_or(8) * 8
}

/// Casts a column to the table's type. Where the type alone does not rule out a loss, values that
/// would change are an error of arrow.
pub fn cast_column(
    array: &ArrayRef,
    wanted: &DataType,
) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    cast_with_options(
        array,
        wanted,
        &CastOptions {
            safe: false,
            ..CastOptions::default()
        },
    )
}

/// Maps the batches of one file to the columns wanted of it.
#[derive(Debug)]
pub(crate) struct Adapter {
    name: Arc<str>,
    /// For each column wanted: its place in what the file gives.
    places: Vec<Option<usize>>,
    schema: SchemaRef,
}

impl Adapter {
    /// Maps `given` to the columns that `source` wants; an error names the file, the column and both types.
    pub(crate) fn new(
        name: &Arc<str>,
        given: &Schema,
        source: &RecordSource,
    ) -> Result<Self, Error> {
        let schema = source.file_columns();
        let places = source.places_in(given.fields().iter().map(|field| field.name().as_str()));
        for (field, place) in schema.fields().iter().zip(&places) {
            let Some(place) = *place else { continue };
            let (from, to) = (given.field(place).data_type(), field.data_type());
            if widens(from, to) && can_cast_types(from, to) {
                continue;
            }
            let what = format!(
                "column `{}` is {from} in this file and {to} in the table, which cannot hold every value of it",
                field.name()
            );
            return Err(Error::damaged(name, Place::File, what));
        }
        Ok(Self {
            name: Arc::clone(name),
            places,
            schema,
        })
    }

    /// The places of the columns wanted in what the file gives, in order and once each.
    pub(crate) fn needed(&self) -> Vec<usize> {
        let mut needed: Vec<usize> = self.places.iter().flatten().copied().collect();
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// The same mapping for batches that have only the columns of [`Adapter::needed`].
    pub(crate) fn narrowed(mut self) -> Self {
        let needed = self.needed();
        for place in self.places.iter_mut().flatten() {
            *place = needed.binary_search(place).unwrap_or(*place);
        }
        self
    }

    pub(crate) fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self
            .places
            .iter()
            .zip(self.schema.fields())
            .map(
                |(place, field)| match place.and_then(|place| batch.columns().get(place)) {
                    Some(column) => cast_column(column, field.data_type()).map_err(|error| {
                        let what = format!("column `{}`: {}", field.name(), first_line(&error));
                        Error::damaged(&self.name, Place::File, what).into()
                    }),
                    None => Ok(new_null_array(field.data_type(), rows)),
                },
            )
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let adapted =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(rows_with_one_nan(adapted))
    }
}

pub(crate) fn first_line(error: &dyn std::fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
