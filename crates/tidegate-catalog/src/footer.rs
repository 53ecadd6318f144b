//! What the footer of a Parquet file tells: its columns, its row groups and their statistics, in a form small
//! enough to keep for many files.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics, stats::Precision};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::{
    Int96Coercer, transform_binary_to_string, transform_schema_to_view,
};
use parquet::arrow::{parquet_column, parquet_to_arrow_schema};
use parquet::basic::ConvertedType;
use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};
use tidegate_operators::source::places;
use tidegate_operators::unwinding::catch;

use crate::error::{Error, Kind, Result};

/// Timestamps of the old 96-bit kind are read in this unit: nanoseconds would not reach the year 2300.
pub(crate) const INT96_UNIT: (&str, TimeUnit) = ("us", TimeUnit::Microsecond);

/// The digest of one Parquet file.
#[derive(Debug, Clone)]
pub(crate) struct FileFacts {
    /// The columns as the file has them.
    pub(crate) fields: Fields,
    /// Over `fields`.
    pub(crate) statistics: Arc<Statistics>,
    /// In the order of the file; together they cover it.
    pub(crate) row_groups: Vec<RowGroup>,
    /// Columns with intervals that would be read without their months.
    pub(crate) intervals: Vec<String>,
}

/// The columns that hold intervals of months, days and milliseconds. They are read as days and
/// milliseconds, unless the schema of Arrow in the footer says that they are only months or only
/// days.
fn intervals(metadata: &ParquetMetaData) -> Vec<String> {
    let file = metadata.file_metadata();
    let says = |entry: &KeyValue| entry.key == parquet::arrow::ARROW_SCHEMA_META_KEY;
    if file
        .key_value_metadata()
        .is_some_and(|entries| entries.iter().any(says))
    {
        return Vec::new();
    }
    let descriptor = file.schema_descr();
    let leaves = descriptor.columns().iter().enumerate();
    leaves
        .filter(|(_, leaf)| leaf.converted_type() == ConvertedType::INTERVAL)
        .map(|(at, _)| descriptor.get_column_root(at).name().to_owned())
        .collect()
}

fn corrupt(file: &str, what: String) -> Error {
    Error::new(Kind::Corrupt, format!("`{file}` is damaged: {what}")).file(file)
}

/// Where a row group is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowGroup {
    /// The offset a byte range must hold for a reader of that range to read this group.
    pub(crate) start: u64,
    /// Compressed bytes.
    pub(crate) bytes: u64,
    /// Rows.
    pub(crate) rows: u64,
}

impl crate::cache::Remembered for FileFacts {
    fn cost(&self) -> usize {
        self.fields.len() + self.row_groups.len() + 1
    }
}

impl FileFacts {
    /// Digests a footer. `file` is for messages.
    pub(crate) fn of(
        metadata: &ParquetMetaData,
        file: &str,
        binary_as_string: bool,
    ) -> Result<Self> {
        // The Arrow schema that a footer may carry panics when its bytes are damaged.
        catch(|| Self::digest(metadata, file, binary_as_string))
            .unwrap_or_else(|| Err(corrupt(file, "decoding its schema failed".into())))
    }

    fn digest(metadata: &ParquetMetaData, file: &str, binary_as_string: bool) -> Result<Self> {
        let corrupt = |what| corrupt(file, what);
        let descriptor = metadata.file_metadata().schema_descr();
        let schema =
            parquet_to_arrow_schema(descriptor, metadata.file_metadata().key_value_metadata())
                .map_err(|error| corrupt(first_line(&error)).caused_by(error))?;
        let schema = Int96Coercer::new(descriptor, &schema, &INT96_UNIT.1)
            .coerce()
            .unwrap_or(schema);
        let schema = if binary_as_string {
            transform_binary_to_string(&schema)
        } else {
            schema
        };
        let schema = transform_schema_to_view(&schema);
        let fields: Fields = schema
            .fields()
            .iter()
            .map(|f| Field::new(f.name(), f.data_type().clone(), f.is_nullable()))
            .collect();
        let schema = Arc::new(Schema::new(fields.clone()));
        if metadata
            .row_groups()
            .iter()
            .any(|group| group.num_rows() < 0)
        {
            return Err(corrupt("a row group has a negative number of rows".into()));
        }
        let statistics = statistics(metadata, &schema)
            .map_err(|error| corrupt(error.strip_backtrace()).caused_by(error))?;
        let mut row_groups: Vec<RowGroup> = metadata.row_groups().iter().map(row_group).collect();
        row_groups.sort_by_key(|group| group.start);
        Ok(Self {
            fields,
            intervals: intervals(metadata),
            statistics: Arc::new(statistics),
            row_groups,
        })
    }

    /// The statistics of this file over the columns of the table, in its types, and its partition values.
    pub(crate) fn statistics_for(
        &self,
        file_schema: &SchemaRef,
        partitions: &[ScalarValue],
    ) -> Arc<Statistics> {
        if partitions.is_empty() && self.fields == *file_schema.fields() {
            return Arc::clone(&self.statistics);
        }
        let rows = self.statistics.num_rows;
        let places = places(
            self.fields.iter().map(|field| field.name().as_str()),
            file_schema
                .fields()
                .iter()
                .map(|field| field.name().as_str()),
        );
        let mut columns: Vec<ColumnStatistics> = file_schema
            .fields()
            .iter()
            .zip(places)
            .map(|(wanted, place)| match place {
                None => missing(wanted.data_type(), rows),
                Some(at) => {
                    let own = &self.statistics.column_statistics[at];
                    cast(own, self.fields[at].data_type(), wanted.data_type())
                }
            })
            .collect();
        columns.extend(partitions.iter().map(|value| constant(value, rows)));
        Arc::new(Statistics {
            num_rows: rows,
            total_byte_size: self.statistics.total_byte_size,
            column_statistics: columns,
        })
    }
}

/// A byte range of whole row groups, and its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) range: Range<u64>,
    pub(crate) weight: u64,
}

/// What row groups are weighed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Bytes,
    Rows,
}

/// Cuts a file into byte ranges of whole row groups, each of at least this weight but the last.
pub(crate) fn pieces(
    row_groups: &[RowGroup],
    file_bytes: u64,
    weight: Weight,
    at_least: u64,
) -> Vec<Piece> {
    let mut found: Vec<Piece> = Vec::new();
    let (mut start, mut filled) = (0, 0);
    let piece = |start: u64, end: u64, filled: u64| Piece {
        range: start..end,
        weight: match weight {
            Weight::Bytes => end - start,
            Weight::Rows => filled,
        },
    };
    for group in row_groups {
        if filled >= at_least && group.start > start {
            found.push(piece(start, group.start, filled));
            (start, filled) = (group.start, 0);
        }
        filled += match weight {
            Weight::Bytes => group.bytes,
            Weight::Rows => group.rows,
        };
    }
    found.push(piece(start, file_bytes, filled));
    found
}

fn row_group(group: &RowGroupMetaData) -> RowGroup {
    // The reader's own rule: a row group belongs to the range that holds its first column's first page.
    let start = group.columns().first().map_or(0, |c| {
        c.dictionary_page_offset().unwrap_or(c.data_page_offset())
    });
    RowGroup {
        start: u64::try_from(start).unwrap_or(0),
        bytes: u64::try_from(group.compressed_size()).unwrap_or(0),
        rows: u64::try_from(group.num_rows()).unwrap_or(0),
    }
}

/// DataFusion's statistics, without the bounds it should not call exact.
fn statistics(
    metadata: &ParquetMetaData,
    schema: &SchemaRef,
) -> datafusion::error::Result<Statistics> {
    let mut found = DFParquetMetadata::statistics_from_parquet_metadata(metadata, schema)?;
    let descriptor = metadata.file_metadata().schema_descr();
    for (field, column) in schema.fields().iter().zip(&mut found.column_statistics) {
        let at = parquet_column(descriptor, schema, field.name()).map(|(at, _)| at);
        let known = at.is_some_and(|at| {
            metadata
                .row_groups()
                .iter()
                .all(|group| is_bounded(group, at))
        });
        if !known {
            // A row group without bounds may hold any value.
            column.min_value = Precision::Absent;
            column.max_value = Precision::Absent;
        } else if field.data_type().is_floating() {
            // Bounds of floats leave NaN out.
            column.min_value = std::mem::take(&mut column.min_value).to_inexact();
            column.max_value = std::mem::take(&mut column.max_value).to_inexact();
        }
    }
    Ok(found)
}

/// Whether the bounds of this column hold for all values of the row group.
fn is_bounded(group: &RowGroupMetaData, column: usize) -> bool {
    let Some(statistics) = group
        .columns()
        .get(column)
        .and_then(|column| column.statistics())
    else {
        return group.num_rows() == 0;
    };
    let all_null = statistics.null_count_opt() == u64::try_from(group.num_rows()).ok();
    // The bounds of old writers compare bytes as signed: right for numbers only.
    let trusted =
        !statistics.is_min_max_deprecated() || statistics.is_min_max_backwards_compatible();
    all_null
        || (trusted && statistics.min_bytes_opt().is_some() && statistics.max_bytes_opt().is_some())
}

fn missing(data_type: &DataType, rows: Precision<usize>) -> ColumnStatistics {
    let null = ScalarValue::try_from(data_type).map_or(Precision::Absent, Precision::Exact);
    ColumnStatistics {
        null_count: rows,
        min_value: null.clone(),
        max_value: null,
        byte_size: bytes_of(data_type, rows),
        ..ColumnStatistics::new_unknown()
    }
}

fn constant(value: &ScalarValue, rows: Precision<usize>) -> ColumnStatistics {
    ColumnStatistics {
        null_count: if value.is_null() {
            rows
        } else {
            Precision::Exact(0)
        },
        min_value: Precision::Exact(value.clone()),
        max_value: Precision::Exact(value.clone()),
        distinct_count: Precision::Exact(usize::from(!value.is_null())),
        byte_size: bytes_of(&value.data_type(), rows),
        ..ColumnStatistics::new_unknown()
    }
}

/// The statistics of a column read as a wider type. Bounds stay right because widening keeps the order; text does not.
fn cast(own: &ColumnStatistics, from: &DataType, to: &DataType) -> ColumnStatistics {
    if from == to {
        return own.clone();
    }
    let keeps_order = crate::widen::widen(from, to).as_ref() == Some(to) || same_text(from, to);
    let bound = |value: &Precision<ScalarValue>| match keeps_order {
        true => value.cast_to(to).unwrap_or(Precision::Absent),
        false => Precision::Absent,
    };
    ColumnStatistics {
        null_count: own.null_count,
        min_value: bound(&own.min_value),
        max_value: bound(&own.max_value),
        distinct_count: own.distinct_count,
        byte_size: match to.primitive_width() {
            Some(_) => Precision::Absent,
            None => own.byte_size,
        },
        ..ColumnStatistics::new_unknown()
    }
}

fn same_text(from: &DataType, to: &DataType) -> bool {
    from.is_string() && to.is_string()
}

fn bytes_of(data_type: &DataType, rows: Precision<usize>) -> Precision<usize> {
    data_type
        .primitive_width()
        .map_or(Precision::Absent, |width| {
            rows.multiply(&Precision::Exact(width))
        })
}

/// What is guessed of a file of records from its size.
pub(crate) fn estimate(
    schema: &SchemaRef,
    file_bytes: u64,
    rows_per_byte: Option<f64>,
) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    if let Some(rate) = rows_per_byte {
        statistics.num_rows = Precision::Inexact((file_bytes as f64 * rate).ceil() as usize);
    }
    statistics.total_byte_size =
        Precision::Inexact(usize::try_from(file_bytes).unwrap_or(usize::MAX));
    statistics
}

/// The statistics of several files over the same columns as one.
pub(crate) fn merge(files: &[Arc<Statistics>], schema: &SchemaRef) -> Statistics {
    let merged = Statistics::try_merge_iter(files.iter().map(Arc::as_ref), schema);
    let mut merged = merged.unwrap_or_else(|_| Statistics::new_unknown(schema));
    if files.is_empty() {
        merged.num_rows = Precision::Exact(0);
    }
    if files.len() < 2 {
        return merged;
    }
    // A file without a value in a column says nothing about its bounds; DataFusion takes its NULL for the least value.
    for (at, column) in merged.column_statistics.iter_mut().enumerate() {
        let valued = || {
            files
                .iter()
                .map(|file| (&file.column_statistics[at], file.num_rows))
                .filter(|(own, rows)| {
                    !(own.null_count == *rows && own.null_count.is_exact() == Some(true))
                })
        };
        if valued().count() < files.len() {
            let bounds = |pick: fn(&ColumnStatistics) -> &Precision<ScalarValue>,
                          join: fn(
                &Precision<ScalarValue>,
                &Precision<ScalarValue>,
            ) -> Precision<ScalarValue>| {
                valued()
                    .map(|(own, _)| pick(own).clone())
                    .reduce(|a, b| join(&a, &b))
            };
            if let Some(least) = bounds(|own| &own.min_value, Precision::min) {
                column.min_value = least;
            }
            if let Some(greatest) = bounds(|own| &own.max_value, Precision::max) {
                column.max_value = greatest;
            }
        }
    }
    merged
}

pub(crate) fn first_line(error: &impl std::fmt::Display) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
