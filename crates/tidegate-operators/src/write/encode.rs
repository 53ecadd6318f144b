//! Encoders: batches in, the bytes of one file out.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::error::{Error, Result};
use super::format::WriteFormat;
use super::{arrow_file, csv, json, parquet_file};

/// Writes batches of one schema to `W` in one format. Dropped unfinished, the file is incomplete.
pub trait Encoder<W>: Send {
    /// Encodes the rows of a batch. Some formats keep them for a while.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// Gives what is kept to the output, at the price of smaller blocks.
    fn flush(&mut self) -> Result<()>;
    /// What has been written to.
    fn output(&mut self) -> &mut W;
    /// Bytes kept in memory, without those in the output.
    fn bytes_buffered(&self) -> usize;
    /// Completes the file and gives the output back.
    fn finish(self: Box<Self>) -> Result<W>;
}

/// An encoder of `format` for batches of `schema` that writes to `output`.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use tidegate_operators::write::{WriteFormat, encoder};
///
/// let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
/// let batch = RecordBatch::try_from_iter([("a", column)])?;
/// let mut csv = encoder(&WriteFormat::named("ndjson")?, batch.schema(), Vec::new())?;
/// csv.write(&batch)?;
/// assert_eq!(csv.finish()?, b"{\"a\":1}\n{\"a\":null}\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encoder<W>(format: &WriteFormat, schema: SchemaRef, output: W) -> Result<Box<dyn Encoder<W>>>
where
    W: Write + Send + 'static,
{
    check_schema(format, &schema)?;
    Ok(match format {
        WriteFormat::Csv(options) => Box::new(csv::CsvEncoder::new(
            options,
            plain_schema(&schema),
            output,
        )?),
        WriteFormat::Json(options) => json::encoder(options, plain_schema(&schema), output)?,
        WriteFormat::Parquet(options) => {
            Box::new(parquet_file::ParquetEncoder::new(options, schema, output)?)
        }
        WriteFormat::Arrow(options) => Box::new(arrow_file::ArrowEncoder::new(
            options,
            plain_schema(&schema),
            output,
        )?),
    })
}

/// An error when some column cannot be written in this format; to be asked before anything runs.
pub fn check_schema(format: &WriteFormat, schema: &Schema) -> Result<()> {
    let name = format.name();
    if !matches!(format, WriteFormat::Csv(_)) {
        let mut seen = HashSet::new();
        if let Some(twice) = schema
            .fields()
            .iter()
            .find(|field| !seen.insert(field.name()))
        {
            return Err(column_error(
                twice,
                name,
                "another column has the same name; use AS",
            ));
        }
    }
    if schema.fields().is_empty() {
        return Err(Error::Encode {
            format: name,
            why: "there are no columns".to_owned(),
        });
    }
    match format {
        WriteFormat::Parquet(options) => parquet_file::check(options, schema),
        WriteFormat::Arrow(_) => Ok(()),
        WriteFormat::Csv(_) | WriteFormat::Json(_) => {
            let unwritable = schema
                .fields()
                .iter()
                .find(|field| holds_union(field.data_type()));
            unwritable.map_or(Ok(()), |field| {
                Err(column_error(field, name, "unions have no text form"))
            })
        }
    }
}

pub(super) fn column_error(field: &Field, format: &'static str, why: &str) -> Error {
    Error::Column {
        column: field.name().clone(),
        format,
        why: why.to_owned(),
    }
}

fn holds_union(kind: &DataType) -> bool {
    match kind {
        DataType::Union(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _) => holds_union(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_union(field.data_type())),
        _ => false,
    }
}

/// The schema with dictionary and run-end encoding undone at the top.
pub(super) fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let plain = |field: &Arc<Field>| match plain_type(field.data_type()) {
        Some(kind) => Arc::new(field.as_ref().clone().with_data_type(kind.clone())),
        None => Arc::clone(field),
    };
    let fields: Vec<_> = schema.fields().iter().map(plain).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn plain_type(kind: &DataType) -> Option<&DataType> {
    match kind {
        DataType::Dictionary(_, value) => Some(value),
        DataType::RunEndEncoded(_, value) => Some(value.data_type()),
        _ => None,
    }
}

/// The batch as [`plain_schema`] says.
pub(super) fn plain_batch(
    batch: &RecordBatch,
    schema: &SchemaRef,
    format: &'static str,
) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| match plain_type(column.data_type()) {
            Some(kind) => cast(column, kind),
            None => Ok(Arc::clone(column)),
        });
    let columns = columns
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(format, error))?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| failed(format, error))
}

pub(super) fn failed(format: &'static str, error: impl std::fmt::Display) -> Error {
    Error::Encode {
        format,
        why: error.to_string(),
    }
}
