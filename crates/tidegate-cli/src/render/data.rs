//! The formats of files, by the engine's own encoders: CSV, TSV, JSON, NDJSON, Parquet, Arrow.

use std::io::Write;

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;
use tidegate::write::{Encoder, WriteFormat, encoder};

use super::{RenderError, Renderer};

/// Bytes in the format of a file.
pub(super) struct Data {
    /// `None` once the last row is written.
    encoder: Option<Box<dyn Encoder<Vec<u8>>>>,
}

impl Data {
    pub(super) fn new(format: &WriteFormat, schema: &SchemaRef) -> Result<Self, RenderError> {
        let encoder = encoder(format, SchemaRef::clone(schema), Vec::new())?;
        Ok(Self {
            encoder: Some(encoder),
        })
    }
}

impl Renderer for Data {
    fn begin(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(());
        };
        encoder.write(batch)?;
        let bytes = encoder.output();
        out.write_all(bytes)?;
        bytes.clear();
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        if let Some(encoder) = self.encoder.take() {
            out.write_all(&encoder.finish()?)?;
        }
        Ok(())
    }
}
