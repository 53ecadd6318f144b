//! CSV: a header, NULL as the null text unquoted (empty by default), an empty text as `""`, so that
//! both come back as they were. Quotes only where a reader needs them.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use super::compress::Compressor;
use super::csv_cell::{CellFormat, cell_writer};
use super::encode::{Encoder, column_error, failed, plain_batch};
use super::error::{Error, Result};
use super::format::{CsvOptions, CsvTable};

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
    quote: Option<u8>,
    escape: u8,
    null: Vec<u8>,
    always: bool,
    table: Option<CsvTable>,
}

impl<W: Write> CsvEncoder<W> {
    pub(super) fn new(options: &CsvOptions, schema: SchemaRef, output: W) -> Result<Self> {
        check(options)?;
        let output = Compressor::new(options.compression, options.compression_level, output);
        let all = options.force_quote
            || options.table.is_some()
            || !options.null.is_empty()
            || in_numbers(options.delimiter)
            || options.delimiter == options.decimal_separator
            || options.quote.is_some_and(in_numbers);
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
                table: options.table.clone(),
            },
            cells: CellFormat::new(options),
            risky: risky.collect(),
            buffer: Vec::new(),
            header_due: options.header,
            schema,
        })
    }

    fn write_header(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.header_due) {
            return Ok(());
        }
        for (index, field) in self.schema.fields().iter().enumerate() {
            if index > 0 {
                self.buffer.push(self.quoting.delimiter);
            }
            let start = self.buffer.len();
            self.buffer.extend_from_slice(field.name().as_bytes());
            let place = Place::of(index, Row::Header);
            let quoted = self.quoting.quote_from(&mut self.buffer, start, place);
            quoted.map_err(|why| column_error(field, FORMAT, &why))?;
        }
        self.buffer.push(b'\n');
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        self.output.write_all(&self.buffer).map_err(io_failed)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write + Send> Encoder<W> for CsvEncoder<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.write_header()?;
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
            let row_start = self.buffer.len();
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
                    let place = Place::of(index, Row::Values);
                    let quoted = self.quoting.quote_from(&mut self.buffer, start, place);
                    quoted.map_err(|why| column_error(self.schema.field(index), FORMAT, &why))?;
                }
            }
            self.buffer.push(b'\n');
            self.quoting.check_length(self.buffer.len() - row_start)?;
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
        self.write_header()?;
        self.send()?;
        self.output.finish().map_err(io_failed)
    }
}

/// Where a field stands.
#[derive(Clone, Copy)]
struct Place {
    first: bool,
    row: Row,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    Header,
    Values,
}

impl Place {
    fn of(index: usize, row: Row) -> Self {
        let first = index == 0;
        Self { first, row }
    }
}

impl Quoting {
    /// Quotes the field that begins at `start`, if it needs to be; the error is why it cannot.
    fn quote_from(&self, buffer: &mut Vec<u8>, start: usize, place: Place) -> Result<(), String> {
        let field = &buffer[start..];
        if let (Row::Values, Some(table)) = (place.row, &self.table)
            && table.quoted_nulls
            && self.is_null(field)
        {
            let why = format!("the table would read `{}` as NULL", shown(field));
            return Err(why);
        }
        if !self.always && !self.is_needed(field, place) {
            return Ok(());
        }
        let Some(quote) = self.quote else {
            if !self.is_needed(field, place) {
                return Ok(());
            }
            let why = format!("`{}` needs quotes, and there are none", shown(field));
            return Err(why);
        };
        let escaped = |byte: u8| byte == quote || (byte == self.escape && self.escape != quote);
        let mut quoted = Vec::with_capacity(field.len() + 2);
        quoted.push(quote);
        for byte in field {
            if escaped(*byte) {
                quoted.push(self.escape);
            }
            quoted.push(*byte);
        }
        quoted.push(quote);
        buffer.truncate(start);
        buffer.extend_from_slice(&quoted);
        Ok(())
    }

    fn is_needed(&self, field: &[u8], place: Place) -> bool {
        let comment = self.table.as_ref().and_then(|table| table.comment);
        let looks_like_comment =
            place.first && comment.is_some_and(|comment| field.first() == Some(&comment));
        // Without quotes an empty field is an empty text where NULL is written otherwise.
        let is_empty = field.is_empty() && (self.quote.is_some() || self.null.is_empty());
        let escape = self.quote.map(|_| self.escape);
        looks_like_comment
            || is_empty
            || self.is_null(field)
            || memchr::memchr3(self.delimiter, b'\r', b'\n', field).is_some()
            || self
                .quote
                .is_some_and(|byte| memchr::memchr(byte, field).is_some())
            || escape.is_some_and(|byte| memchr::memchr(byte, field).is_some())
    }

    /// Whether the bare field stands for NULL.
    fn is_null(&self, field: &[u8]) -> bool {
        field == self.null
            || self
                .table
                .as_ref()
                .is_some_and(|table| table.nulls.iter().any(|null| null.as_bytes() == field))
    }

    fn check_length(&self, bytes: usize) -> Result<()> {
        match &self.table {
            Some(table) if bytes > table.line_bytes_max => {
                let max = table.line_bytes_max;
                let why = format!(
                    "a row has {bytes} bytes, and the table reads at most {max} (`max_line_size`)"
                );
                Err(failed(FORMAT, why))
            }
            _ => Ok(()),
        }
    }
}

/// An error when the options say what no reader could tell apart.
pub(super) fn check(options: &CsvOptions) -> Result<()> {
    if options.quote == Some(options.delimiter) {
        return Err(failed(FORMAT, "delimiter and quote are the same"));
    }
    let null = options.null.as_bytes();
    let torn = |byte: u8| byte == options.delimiter || Some(byte) == options.quote;
    if null
        .iter()
        .any(|byte| torn(*byte) || matches!(byte, b'\r' | b'\n'))
    {
        return Err(Error::BadOption {
            name: "null".to_owned(),
            value: options.null.clone(),
            expected: "it is a text without delimiter, quote and line end".to_owned(),
        });
    }
    Ok(())
}

/// The beginning of a field, for a message.
fn shown(field: &[u8]) -> String {
    const LETTERS_MAX: usize = 40;
    let text = String::from_utf8_lossy(field);
    match text.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
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
