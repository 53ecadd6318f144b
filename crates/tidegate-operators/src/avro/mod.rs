//! Avro object container files.

mod container;
mod snappy;
mod unions;
mod walk;

use std::io::{BufRead, BufReader};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, UnionFields};
use arrow::error::ArrowError;
use datafusion::arrow_avro::reader::{Reader, ReaderBuilder};
use datafusion::error::Result;

use crate::input::{Error, InputFile, Place};
use crate::source::flow::guarded;
use crate::source::opener::{Batches, Opening, Step};
use crate::source::project::with_rows;
use crate::source::{Adapter, first_line};
use container::Container;

type AvroReader = Reader<Box<dyn BufRead + Send>>;

const READ_BYTES: usize = 256 << 10;

/// The columns of an Avro file. Blocks.
pub(crate) fn schema(file: &InputFile, unpacked_bytes_max: u64) -> Result<Schema, Error> {
    guarded(file.name(), Place::File, || {
        let reader = reader(file, (1, unpacked_bytes_max), None)?;
        Ok(plain_schema(&reader.schema()))
    })
    .map_err(|error| Error::of(file.name(), error))
}

/// The batches of an Avro file.
pub(crate) fn open(opening: &Opening) -> Result<Box<dyn Batches>> {
    let source = &opening.source;
    let name = Arc::clone(opening.input.name());
    let limits = (
        source.batch_rows(),
        source.access().limits.unpacked_bytes_max,
    );
    let (reader, adapter) = guarded(&name, Place::File, || {
        let whole = reader(&opening.input, limits, None)?;
        let schema = whole.schema();
        let adapter = Adapter::new(&name, &plain_schema(&schema), source)?;
        let needed = adapter.needed();
        // The reader cannot leave out all columns: the first one then stands for the rows.
        if needed.is_empty() || needed.len() == schema.fields().len() {
            return Ok((whole, adapter));
        }
        let narrow = reader(&opening.input, limits, Some(needed))?;
        Ok((narrow, adapter.narrowed()))
    })?;
    Ok(Box::new(AvroBatches {
        reader,
        adapter,
        name,
        schema: Arc::clone(source.read_schema()),
        row: 0,
        rows: source.wants_rows(),
    }))
}

/// A reader of batches of so many rows, from blocks that unpack to so many bytes.
fn reader(
    file: &InputFile,
    (batch_rows, unpacked_bytes_max): (usize, u64),
    columns: Option<Vec<usize>>,
) -> Result<AvroReader> {
    let container = Container::open(file, unpacked_bytes_max)?;
    let content: Box<dyn BufRead + Send> =
        Box::new(BufReader::with_capacity(READ_BYTES, container));
    let mut builder = ReaderBuilder::new().with_batch_size(batch_rows);
    if let Some(columns) = columns {
        builder = builder.with_projection(columns);
    }
    builder
        .build(content)
        .map_err(|error| ours(file.name(), error).into())
}

/// An error of ours that went through the reader, or damage that it found.
fn ours(name: &Arc<str>, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => match Error::from_io(name, source) {
            Error::Io { source, .. } => damaged(name, &source),
            ours => ours,
        },
        ArrowError::ExternalError(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => ours(name, ArrowError::IoError(String::new(), *source)),
            Err(other) => damaged(name, &other),
        },
        other => damaged(name, &other),
    }
}

fn damaged(name: &Arc<str>, error: &dyn std::fmt::Display) -> Error {
    Error::damaged(
        name,
        Place::File,
        format!("the Avro data is damaged: {}", first_line(error)),
    )
}

struct AvroBatches {
    reader: AvroReader,
    adapter: Adapter,
    name: Arc<str>,
    schema: SchemaRef,
    row: u64,
    rows: bool,
}

impl Batches for AvroBatches {
    fn next_batch(&mut self) -> Result<Step> {
        let reader = &mut self.reader;
        let next = guarded(&self.name, Place::File, || Ok(reader.next()))?;
        let batch: RecordBatch = match next {
            None => return Ok(Step::Done),
            Some(batch) => batch.map_err(|error| ours(&self.name, error))?,
        };
        if batch.num_rows() == 0 {
            return Ok(Step::Again);
        }
        let batch = unions::without_unions(batch).map_err(|error| damaged(&self.name, &error))?;
        let adapted = self.adapter.adapt(&batch)?;
        let first = self.rows.then_some(self.row);
        self.row += batch.num_rows() as u64;
        Ok(Step::Batch(with_rows(adapted, &self.schema, first)?))
    }
}

/// The schema without the reader's notes, which differ from file to file.
fn plain_schema(schema: &SchemaRef) -> Schema {
    Schema::new(plain_fields(schema.fields()))
}

fn plain_fields(fields: &Fields) -> Fields {
    fields.iter().map(|field| plain_field(field)).collect()
}

fn plain_field(field: &Field) -> Field {
    Field::new(
        field.name(),
        plain_type(field.data_type()),
        field.is_nullable(),
    )
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(plain_fields(fields)),
        DataType::List(item) => DataType::List(plain_field(item).into()),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item).into()),
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(plain_field(item).into(), *n),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries).into(), *sorted),
        DataType::Union(fields, _) => {
            let plain: UnionFields = fields
                .iter()
                .map(|(id, field)| (id, Arc::new(plain_field(field))))
                .collect();
            unions::type_of(&plain)
        }
        other => other.clone(),
    }
}
