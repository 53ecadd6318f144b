//! Parquet: row groups bounded by rows and by bytes.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, IntervalUnit, Schema, SchemaRef};
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
}

impl<W: Write + Send> ParquetEncoder<W> {
    pub(super) fn new(options: &ParquetOptions, schema: SchemaRef, output: W) -> Result<Self> {
        let properties = properties(options)?;
        let writer = ArrowWriter::try_new(output, schema, Some(properties)).map_err(explain)?;
        Ok(Self { writer })
    }
}

impl<W: Write + Send> Encoder<W> for ParquetEncoder<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(explain)
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
