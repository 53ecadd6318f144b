//! JSON: NULL is `null`, 64-bit integers and decimals are exact numbers, NaN and infinities (which
//! JSON cannot say) are `null`, dates and timestamps are ISO 8601, intervals as SQL writes them,
//! binary is hexadecimal.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::WriterBuilder;
use arrow::json::writer::{EncoderOptions, JsonArray, JsonFormat, LineDelimited, Writer};

use super::compress::Compressor;
use super::encode::{Encoder, failed, plain_batch};
use super::error::{Error, Result};
use super::format::{JsonOptions, JsonShape};
use crate::interval_text::IntervalFormats;

const FORMAT: &str = "json";
const TIMESTAMP: &str = "%Y-%m-%d %H:%M:%S%.f";
const TIMESTAMP_TZ: &str = "%Y-%m-%d %H:%M:%S%.f%:z";

struct JsonEncoder<W: Write, F: JsonFormat> {
    writer: Writer<Compressor<W>, F>,
    schema: SchemaRef,
    /// After the last object: people end text files with a line end, and so do their tools.
    end: &'static [u8],
}

pub(super) fn encoder<W>(
    options: &JsonOptions,
    schema: SchemaRef,
    output: W,
) -> Result<Box<dyn Encoder<W>>>
where
    W: Write + Send + 'static,
{
    let output = Compressor::new(options.compression, options.compression_level, output)
        .map_err(io_failed)?;
    let builder = WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format(TIMESTAMP.to_owned())
        .with_timestamp_tz_format(TIMESTAMP_TZ.to_owned())
        .with_datetime_format(TIMESTAMP.to_owned())
        .with_encoder_factory(Arc::new(IntervalFormats));
    Ok(match options.shape {
        JsonShape::Array => {
            let writer = builder.build::<_, JsonArray>(output);
            Box::new(JsonEncoder {
                writer,
                schema,
                end: b"\n",
            })
        }
        JsonShape::Lines => {
            let writer = builder.build::<_, LineDelimited>(output);
            Box::new(JsonEncoder {
                writer,
                schema,
                end: b"",
            })
        }
    })
}

/// How values nested in a field of CSV are written.
pub(super) fn nested_options() -> EncoderOptions {
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_timestamp_format(TIMESTAMP.to_owned())
        .with_timestamp_tz_format(TIMESTAMP_TZ.to_owned())
        .with_datetime_format(TIMESTAMP.to_owned())
        .with_encoder_factory(Arc::new(IntervalFormats))
}

impl<W: Write + Send, F: JsonFormat + Send> Encoder<W> for JsonEncoder<W, F> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = plain_batch(batch, &self.schema, FORMAT)?;
        self.writer
            .write(&batch)
            .map_err(|error| failed(FORMAT, error))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn output(&mut self) -> &mut W {
        self.writer.get_mut().output()
    }

    fn bytes_buffered(&self) -> usize {
        0
    }

    fn finish(mut self: Box<Self>) -> Result<W> {
        self.writer
            .finish()
            .map_err(|error| failed(FORMAT, error))?;
        let mut output = self.writer.into_inner();
        output.write_all(self.end).map_err(io_failed)?;
        output.finish().map_err(io_failed)
    }
}

fn io_failed(error: std::io::Error) -> Error {
    failed(FORMAT, error)
}
