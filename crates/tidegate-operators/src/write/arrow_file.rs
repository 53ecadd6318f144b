//! Arrow IPC files.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

use super::encode::{Encoder, failed, plain_batch};
use super::error::Result;
use super::format::{ArrowOptions, Compression};

const FORMAT: &str = "arrow";

pub(super) struct ArrowEncoder<W: Write> {
    writer: FileWriter<W>,
    schema: SchemaRef,
}

impl<W: Write> ArrowEncoder<W> {
    pub(super) fn new(options: &ArrowOptions, schema: SchemaRef, output: W) -> Result<Self> {
        let compression =
            (options.compression == Compression::Zstd).then_some(CompressionType::ZSTD);
        let writer = IpcWriteOptions::default()
            .try_with_compression(compression)
            .and_then(|options| FileWriter::try_new_with_options(output, &schema, options))
            .map_err(|error| failed(FORMAT, error))?;
        Ok(Self { writer, schema })
    }
}

impl<W: Write + Send> Encoder<W> for ArrowEncoder<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = plain_batch(batch, &self.schema, FORMAT)?;
        self.writer
            .write(&batch)
            .map_err(|error| failed(FORMAT, error))
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.flush().map_err(|error| failed(FORMAT, error))
    }

    fn output(&mut self) -> &mut W {
        self.writer.get_mut()
    }

    fn bytes_buffered(&self) -> usize {
        0
    }

    fn finish(self: Box<Self>) -> Result<W> {
        // It completes the file when that was not done.
        self.writer
            .into_inner()
            .map_err(|error| failed(FORMAT, error))
    }
}
