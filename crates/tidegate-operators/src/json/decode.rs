//! Blocks of JSON records to record batches.
//!
//! 1. A block goes to the decoder as a whole: the fast way, all that a sound file needs.
//! 2. When the decoder refuses it, the block is walked over record by record, slowly and exactly: bad
//!    records are reported (or put aside), the others are written anew and decoded.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::reader::{Decoder, ReaderBuilder};
use datafusion::error::Result;

use super::columns::{convert, decoded_fields};
use super::cut::value_length;
use super::keys::Keys;
use super::reason::{Reason, rewrite};
use super::{BYTE_ORDER_MARK, JsonOptions, Layout, OnUnknownKey};
use crate::csv::OnError;
use crate::input::{Error, Place};
use crate::rejects::{self, Reject, RejectLog};
use crate::source::text::At;

/// What one file's records are decoded to.
pub(crate) struct JsonDecoder {
    name: Arc<str>,
    layout: Layout,
    options: JsonOptions,
    /// The columns wanted, and behind them the row number if that is wanted.
    schema: SchemaRef,
    rows: bool,
    batch_rows: usize,
    rejects: Option<Arc<RejectLog>>,
    keys: Keys,
    /// What is decoded: the columns wanted, or with `on_error = 'skip'` all, so that the same records are left out
    /// whatever is wanted.
    fields: Fields,
    /// The places of the columns wanted in `fields`, if these are others.
    wanted: Option<Vec<usize>>,
    decoder: Decoder,
    /// The decoder refuses unknown keys itself.
    strict: bool,
    /// Set when the fast way failed on a sound block: this file mixes kinds of values.
    mixed: bool,
}

/// How a [`JsonDecoder`] is made.
pub(crate) struct JsonPlan {
    pub(crate) layout: Layout,
    pub(crate) options: JsonOptions,
    /// The columns wanted, and behind them the row number if `rows`.
    pub(crate) schema: SchemaRef,
    /// The columns that files of the table have.
    pub(crate) table: Fields,
    /// The places of the columns wanted in `table`.
    pub(crate) columns: Vec<usize>,
    /// Columns of the table that do not come from the files.
    pub(crate) elsewhere: Vec<Arc<Field>>,
    pub(crate) rows: bool,
    pub(crate) batch_rows: usize,
    pub(crate) rejects: Option<Arc<RejectLog>>,
}

/// A record inside a block.
pub(super) struct Record<'a> {
    pub(super) text: &'a [u8],
    pub(super) line: u64,
    pub(super) row: u64,
}

impl JsonDecoder {
    pub(crate) fn new(name: &Arc<str>, plan: JsonPlan) -> Result<Self> {
        let JsonPlan {
            layout,
            options,
            schema,
            table,
            columns,
            elsewhere,
            rows,
            batch_rows,
            rejects,
        } = plan;
        let names = elsewhere.iter().map(|field| field.name().as_str());
        let keys = Keys::new(&table, names, options.on_unknown_key);
        let all = columns.len() == table.len();
        let (fields, wanted) = match options.on_error == OnError::Skip && !all {
            true => (table, Some(columns)),
            false => (
                columns.iter().map(|&at| Arc::clone(&table[at])).collect(),
                None,
            ),
        };
        let strict = options.on_unknown_key == OnUnknownKey::Refuse
            && elsewhere.is_empty()
            && (all || wanted.is_some());
        let decoder = decoder(&fields, batch_rows, strict)?;
        let name = Arc::clone(name);
        Ok(Self {
            name,
            layout,
            options,
            schema,
            rows,
            batch_rows,
            rejects,
            keys,
            fields,
            wanted,
            decoder,
            strict,
            mixed: false,
        })
    }

    pub(crate) fn decode_records(&mut self, bytes: &[u8], at: At) -> Result<Vec<RecordBatch>> {
        let bytes = match at.offset {
            0 => bytes.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(bytes),
            _ => bytes,
        };
        if !self.mixed && (self.strict || self.keys.are_known(bytes)) {
            if let Ok(batches) = self.decode_whole(bytes) {
                let mut first = at.row;
                return batches
                    .into_iter()
                    .map(|batch| {
                        let rows = first..first + batch.num_rows() as u64;
                        first = rows.end;
                        self.finish(batch, rows)
                    })
                    .collect();
            }
            self.decoder = decoder(&self.fields, self.batch_rows, self.strict)?;
        }
        self.decode_each(bytes, at)
    }

    /// The fast way.
    fn decode_whole(&mut self, bytes: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut batches = Vec::new();
        let mut next = 0;
        loop {
            next += self.decoder.decode(&bytes[next..])?;
            let full = self.decoder.len() >= self.batch_rows && !self.decoder.has_partial_record();
            if !full && next < bytes.len() {
                return Err(ArrowError::JsonError("the decoder stopped".to_owned()));
            }
            match self.decoder.flush()? {
                Some(batch) => batches.push(self.convert(&batch)?),
                None if next >= bytes.len() => return Ok(batches),
                None => {}
            }
        }
    }

    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = batch
            .columns()
            .iter()
            .zip(&self.fields)
            .map(|(column, field)| convert(column, field.data_type()))
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(Schema::new(self.fields.clone()));
        let all = RecordBatch::try_new_with_options(schema, columns, &options)?;
        match &self.wanted {
            Some(wanted) => all.project(wanted),
            None => Ok(all),
        }
    }

    /// Appends the row numbers.
    fn finish(&self, batch: RecordBatch, rows: impl Iterator<Item = u64>) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let mut columns = batch.columns().to_vec();
        if self.rows {
            columns.push(Arc::new(Int64Array::from_iter_values(
                rows.map(|row| row as i64),
            )));
        }
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }

    /// The slow way.
    fn decode_each(&mut self, bytes: &[u8], at: At) -> Result<Vec<RecordBatch>> {
        let (mut sound, mut rows, mut refused) = (Vec::new(), Vec::new(), false);
        for record in records(bytes, at, self.layout) {
            match rewrite(record.text, &self.keys, &self.fields, &mut sound) {
                Ok(()) => rows.push(record.row),
                Err(reason) => {
                    refused = true;
                    self.refuse(&record, reason)?;
                }
            }
        }
        let batches = self.decode_whole(&sound).map_err(|error| {
            let first = error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            Error::damaged(&self.name, self.place(at.line, at.row), first)
        })?;
        self.mixed |= !refused;
        let mut rows = rows.into_iter();
        batches
            .into_iter()
            .map(|batch| {
                let count = batch.num_rows();
                self.finish(batch, rows.by_ref().take(count))
            })
            .collect()
    }

    fn place(&self, line: u64, row: u64) -> Place {
        match self.layout {
            Layout::Array => Place::Element(row + 1),
            Layout::Lines | Layout::Values => Place::Line(line),
        }
    }

    fn refuse(&self, record: &Record<'_>, reason: Reason) -> Result<()> {
        // Without line ends there is no telling where the next sound record begins.
        let lines = self.layout == Layout::Lines;
        if let (OnError::Skip, true) = (self.options.on_error, lines) {
            if let Some(rejects) = &self.rejects {
                rejects.push(Reject {
                    file: Arc::clone(&self.name),
                    line: record.line,
                    kind: match reason.field {
                        Some(_) => rejects::Kind::Value,
                        None => rejects::Kind::Record,
                    },
                    column: reason.field.map(Into::into),
                    text: String::from_utf8_lossy(record.text.trim_ascii()).into_owned(),
                    reason: reason.what,
                });
            }
            return Ok(());
        }
        let what = match reason.field {
            Some(field) => format!("field `{field}`: {}", reason.what),
            None => reason.what,
        };
        let hint = if lines {
            "; `on_error='skip'` leaves such lines out"
        } else {
            ""
        };
        let place = self.place(record.line, record.row);
        Err(Error::damaged(&self.name, place, format!("{what}{hint}")).into())
    }
}

fn decoder(fields: &Fields, batch_rows: usize, strict: bool) -> Result<Decoder> {
    let schema = Arc::new(Schema::new(decoded_fields(fields)));
    Ok(ReaderBuilder::new(schema)
        .with_batch_size(batch_rows)
        .with_coerce_primitive(true)
        .with_strict_mode(strict)
        .build_decoder()?)
}

/// The records of a block, with their places.
pub(super) fn records(bytes: &[u8], at: At, layout: Layout) -> impl Iterator<Item = Record<'_>> {
    let mut rest = bytes;
    let (mut line, mut row) = (at.line, at.row);
    std::iter::from_fn(move || {
        loop {
            let length = match layout {
                Layout::Lines => memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
                _ => {
                    let blank = rest.len() - rest.trim_ascii_start().len();
                    match blank {
                        0 => value_length(rest, true).unwrap_or(rest.len()),
                        blank => blank,
                    }
                }
            };
            if length == 0 {
                return None;
            }
            let (text, behind) = rest.split_at(length);
            let record = Record { text, line, row };
            rest = behind;
            line += memchr::memchr_iter(b'\n', text).count() as u64;
            if !text.trim_ascii().is_empty() {
                row += 1;
                return Some(record);
            }
        }
    })
}
