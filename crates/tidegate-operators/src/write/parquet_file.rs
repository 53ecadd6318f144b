//! Parquet: row groups bounded by rows and by bytes.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::encode::{Encoder, column_error, failed};
use super::error::{Error, Result};
use super::format::{ParquetCompression, ParquetOptions, ParquetStatistics};

const FORMAT: &str = "parquet";
const ZSTD_LEVEL: u32 = 1;
const GZIP_LEVEL: u32 = 6;
const BROTLI_LEVEL: u32 = 5;

pub(super) struct ParquetEncoder<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
    /// What is not in a type of the format is cast to one.
    casts: bool,
}

impl<W: Write + Send> ParquetEncoder<W> {
    pub(super) fn new(options: &ParquetOptions, schema: SchemaRef, output: W) -> Result<Self> {
        let properties = properties(options)?;
        let known = in_known_units(&schema);
        let casts = known != schema;
        let writer = ArrowWriter::try_new(output, Arc::clone(&known), Some(properties));
        Ok(Self {
            writer: writer.map_err(explain)?,
            schema: known,
            casts,
        })
    }
}

impl<W: Write + Send> Encoder<W> for ParquetEncoder<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if !self.casts {
            return self.writer.write(batch).map_err(explain);
        }
        let batch = cast_to(batch, &self.schema)?;
        self.writer.write(&batch).map_err(explain)
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(explain)
    }

    fn output(&mut self) -> &mut W {
        self.writer.inner_mut()
    }

    fn bytes_buffered(&self) -> usize {
        self.writer.memory_size()
    }

    fn finish(self: Box<Self>) -> Result<W> {
        self.writer.into_inner().map_err(explain)
    }
}

/// An error when a column has a type that Parquet does not know.
pub(super) fn check(options: &ParquetOptions, schema: &Schema) -> Result<()> {
    properties(options)?;
    match schema
        .fields()
        .iter()
        .find(|field| !is_known(field.data_type()))
    {
        Some(field) => Err(column_error(
            field,
            FORMAT,
            "the format has no such type; cast it to text",
        )),
        None => Ok(()),
    }
}

/// The schema without units that the format does not have: other programs would see seconds and
/// the milliseconds of a Date64 as plain numbers.
fn in_known_units(schema: &SchemaRef) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(known_units).collect();
    match fields == *schema.fields() {
        true => Arc::clone(schema),
        false => Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
    }
}

fn known_units(field: &FieldRef) -> FieldRef {
    use DataType as T;
    let kind = match field.data_type() {
        T::Timestamp(TimeUnit::Second, zone) => T::Timestamp(TimeUnit::Millisecond, zone.clone()),
        T::Time32(TimeUnit::Second) => T::Time32(TimeUnit::Millisecond),
        T::Date64 => T::Timestamp(TimeUnit::Millisecond, None),
        T::List(inner) => T::List(known_units(inner)),
        T::LargeList(inner) => T::LargeList(known_units(inner)),
        T::FixedSizeList(inner, length) => T::FixedSizeList(known_units(inner), *length),
        T::Struct(fields) => T::Struct(fields.iter().map(known_units).collect()),
        T::Map(entries, sorted) => T::Map(known_units(entries), *sorted),
        _ => return Arc::clone(field),
    };
    match kind == *field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(field.as_ref().clone().with_data_type(kind)),
    }
}

/// The batch in the types of `schema`; a value that does not fit is an error.
fn cast_to(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns
        .map(|(column, field)| cast_with_options(column, field.data_type(), &exact))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(FORMAT, error))?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| failed(FORMAT, error))
}

fn is_known(kind: &DataType) -> bool {
    match kind {
        DataType::Interval(IntervalUnit::MonthDayNano)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..) => false,
        DataType::Dictionary(_, value) => is_known(value),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => is_known(field.data_type()),
        // A group without members has no place in the format.
        DataType::Struct(fields) => {
            !fields.is_empty() && fields.iter().all(|field| is_known(field.data_type()))
        }
        _ => true,
    }
}

fn properties(options: &ParquetOptions) -> Result<WriterProperties> {
    let statistics = match options.statistics {
        ParquetStatistics::None => EnabledStatistics::None,
        ParquetStatistics::Chunk => EnabledStatistics::Chunk,
        ParquetStatistics::Page => EnabledStatistics::Page,
    };
    Ok(WriterProperties::builder()
        .set_created_by(concat!("tidegate version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression(options)?)
        .set_max_row_group_row_count(Some(options.row_group_rows))
        .set_max_row_group_bytes(Some(options.row_group_bytes))
        .set_dictionary_enabled(options.dictionary)
        .set_statistics_enabled(statistics)
        .set_bloom_filter_enabled(options.bloom_filter)
        .set_data_page_size_limit(options.page_bytes)
        .build())
}

fn compression(options: &ParquetOptions) -> Result<Compression> {
    let level = |default: u32| options.compression_level.unwrap_or(default);
    let checked = match options.compression {
        ParquetCompression::None => Ok(Compression::UNCOMPRESSED),
        ParquetCompression::Snappy => Ok(Compression::SNAPPY),
        ParquetCompression::Lz4 => Ok(Compression::LZ4_RAW),
        ParquetCompression::Gzip => GzipLevel::try_new(level(GZIP_LEVEL)).map(Compression::GZIP),
        ParquetCompression::Zstd => {
            ZstdLevel::try_new(level(ZSTD_LEVEL).cast_signed()).map(Compression::ZSTD)
        }
        ParquetCompression::Brotli => {
            BrotliLevel::try_new(level(BROTLI_LEVEL)).map(Compression::BROTLI)
        }
    };
    checked.map_err(|error| Error::BadOption {
        name: "compression_level".to_owned(),
        value: options
            .compression_level
            .map_or_else(String::new, |level| level.to_string()),
        expected: reason(error),
    })
}

fn explain(error: ParquetError) -> Error {
    failed(FORMAT, reason(error))
}

/// The text of an error without the name of its kind.
fn reason(error: ParquetError) -> String {
    match error {
        ParquetError::General(why) | ParquetError::NYI(why) | ParquetError::ArrowError(why) => why,
        other => other.to_string(),
    }
}
