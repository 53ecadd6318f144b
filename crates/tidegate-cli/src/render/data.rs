//! The formats of files, by the engine's own encoders: CSV, TSV, JSON, NDJSON, Parquet, Arrow.

use std::io::Write;

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;
use tidegate::write::{Encoder, WriteFormat, encoder};

use super::value::tame;
use super::{Look, RenderError, Renderer};

/// Bytes in the format of a file.
pub(super) struct Data {
    /// `None` once the last row is written.
    encoder: Option<Box<dyn Encoder<Vec<u8>>>>,
    /// Whether a terminal shows the bytes, which data must not steer.
    on_terminal: bool,
}

impl Data {
    pub(super) fn new(
        format: &WriteFormat,
        schema: &SchemaRef,
        look: &Look,
    ) -> Result<Self, RenderError> {
        let encoder = encoder(format, SchemaRef::clone(schema), Vec::new())?;
        Ok(Self {
            encoder: Some(encoder),
            on_terminal: look.width.is_some(),
        })
    }

    /// Writes whole records.
    fn pass_on(&self, bytes: &[u8], out: &mut dyn Write) -> std::io::Result<()> {
        match self.on_terminal {
            true => out.write_all(&tame(bytes)),
            false => out.write_all(bytes),
        }
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
        let bytes = std::mem::take(encoder.output());
        self.pass_on(&bytes, out)?;
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        if let Some(encoder) = self.encoder.take() {
            self.pass_on(&encoder.finish()?, out)?;
        }
        Ok(())
    }
}
