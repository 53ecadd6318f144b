//! CSV: a header, NULL as the null text unquoted (empty by default), an empty text as `""`, so that
//! both come back as they were. Quotes only where a reader needs them.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use super::compress::Compressor;
use super::csv_cell::{CellFormat, cell_writer};
use super::encode::{Encoder, failed, plain_batch};
use super::error::{Error, Result};
use super::format::CsvOptions;

const FORMAT: &str = "csv";
/// Encoded rows are handed on in pieces of about this size.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) struct CsvEncoder<W: Write> {
    output: Compressor<W>,
    schema: SchemaRef,
    quoting: Quoting,
    cells: CellFormat,
    /// Per column: whether a value may need quotes.
    risky: Vec<bool>,
    buffer: Vec<u8>,
    header_due: bool,
}

/// When and how to quote.
struct Quoting {
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: Vec<u8>,
    always: bool,
}

impl<W: Write> CsvEncoder<W> {
    pub(super) fn new(options: &CsvOptions, schema: SchemaRef, output: W) -> Result<Self> {
        if options.delimiter == options.quote {
            return Err(failed(FORMAT, "delimiter and quote are the same"));
        }
        let output = Compressor::new(options.compression, options.compression_level, output);
        let all = options.force_quote
            || !options.null.is_empty()
            || in_numbers(options.delimiter)
            || in_numbers(options.quote);
        let formatted = options.date_format.is_some() || options.timestamp_format.is_some();
        let risky = schema
            .fields()
            .iter()
            .map(|field| all || formatted || is_text(field.data_type()));
        Ok(Self {
            output: output.map_err(io_failed)?,
            quoting: Quoting {
                delimiter: options.delimiter,
                quote: options.quote,
                escape: options.escape,
                null: options.null.clone().into_bytes(),
                always: options.force_quote,
            },
            cells: CellFormat::new(options),
            risky: risky.collect(),
            buffer: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4),
            header_due: options.header,
            schema,
        })
    }

    fn write_header(&mut self) {
        if !std::mem::take(&mut self.header_due) {
            return;
        }
        for (index, field) in self.schema.fields().iter().enumerate() {
            if index > 0 {
                self.buffer.push(self.quoting.delimiter);
            }
            let start = self.buffer.len();
            self.buffer.extend_from_slice(field.name().as_bytes());
            self.quoting.quote_from(&mut self.buffer, start);
        }
        self.buffer.push(b'\n');
    }

    fn send(&mut self) -> Result<()> {
        self.output.write_all(&self.buffer).map_err(io_failed)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write + Send> Encoder<W> for CsvEncoder<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.write_header();
        let batch = plain_batch(batch, &self.schema, FORMAT)?;
        let columns = self.schema.fields().iter().zip(batch.columns());
        let mut cells = columns
            .map(|(field, array)| cell_writer(field, array, &self.cells))
            .collect::<Result<Vec<_>>>()?;
        let nulls: Vec<_> = batch
            .columns()
            .iter()
            .map(|array| array.logical_nulls())
            .collect();
        for row in 0..batch.num_rows() {
            for (index, cell) in cells.iter_mut().enumerate() {
                if index > 0 {
                    self.buffer.push(self.quoting.delimiter);
                }
                if nulls[index]
                    .as_ref()
                    .is_some_and(|nulls| nulls.is_null(row))
                {
                    self.buffer.extend_from_slice(&self.quoting.null);
                    continue;
                }
                let start = self.buffer.len();
                cell(row, &mut self.buffer)?;
                if self.risky[index] {
                    self.quoting.quote_from(&mut self.buffer, start);
                }
            }
            self.buffer.push(b'\n');
            if self.buffer.len() >= CHUNK_BYTES {
                self.output.write_all(&self.buffer).map_err(io_failed)?;
                self.buffer.clear();
            }
        }
        drop(cells);
        self.send()
    }

    fn flush(&mut self) -> Result<()> {
        self.send()
    }

    fn output(&mut self) -> &mut W {
        self.output.output()
    }

    fn bytes_buffered(&self) -> usize {
        self.buffer.capacity()
    }

    fn finish(mut self: Box<Self>) -> Result<W> {
        self.write_header();
        self.send()?;
        self.output.finish().map_err(io_failed)
    }
}

impl Quoting {
    /// Quotes the field that begins at `start`, if it needs to be.
    fn quote_from(&self, buffer: &mut Vec<u8>, start: usize) {
        let field = &buffer[start..];
        if !self.always && !self.is_needed(field) {
            return;
        }
        let escaped =
            |byte: u8| byte == self.quote || (byte == self.escape && self.escape != self.quote);
        let mut quoted = Vec::with_capacity(field.len() + 2);
        quoted.push(self.quote);
        for byte in field {
            if escaped(*byte) {
                quoted.push(self.escape);
            }
            quoted.push(*byte);
        }
        quoted.push(self.quote);
        buffer.truncate(start);
        buffer.extend_from_slice(&quoted);
    }

    fn is_needed(&self, field: &[u8]) -> bool {
        field == self.null
            || field.is_empty()
            || memchr::memchr3(self.delimiter, self.quote, b'\n', field).is_some()
            || memchr::memchr2(b'\r', self.escape, field).is_some()
    }
}

fn is_text(kind: &DataType) -> bool {
    !(kind.is_numeric() || matches!(kind, DataType::Boolean | DataType::Null | DataType::Date32))
}

/// Whether a byte may appear in a number, a truth value or a date.
fn in_numbers(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-. ".contains(&byte)
}

fn io_failed(error: std::io::Error) -> Error {
    failed(FORMAT, error)
}
