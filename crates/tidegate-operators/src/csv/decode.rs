//! Blocks of whole records in, record batches of the projected columns out.
//!
//! 1. A tile of records is indexed (`index.rs`), 2. column after column is converted from it (`convert.rs`),
//! 3. full batches go out. Which rows are kept never depends on the projection: with `on_error = 'skip'` every typed
//!    column is checked. With `on_error = 'fail'` only projected columns are, and the number of fields always.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::convert::{self, Cells, Nulls};
use super::index::{Indexer, Problem, Tile, What};
use super::messages::{self, bad_record};
use super::output::Output;
use super::record::count_lines;
use super::{Dialect, Error, Kind, OnError, Position};
use crate::rejects::RejectLog;

/// Records indexed before their columns are converted, and fields of them.
const TILE_ROWS: usize = 1024;
const TILE_FIELDS: usize = 1 << 16;

/// Text of a batch beyond which it is not filled further.
const BATCH_TEXT_BYTES: usize = 32 << 20;

/// Values of a batch, so that one of very many columns has fewer rows.
const BATCH_VALUES: usize = 4 << 20;

/// Where a column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// The field of that index, from 0, in each record of this file.
    Field(usize),
    /// This file does not have it: all NULL.
    Missing,
    /// The record's number in the file, from 0.
    Row,
}

/// A column of the table, as one file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Where its values come from.
    pub from: Origin,
    /// Name and type to make of it; should allow NULL.
    pub field: FieldRef,
    /// The type was inferred and not said: then a number with a leading zero or plus sign is an error.
    pub inferred: bool,
}

/// What to decode.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How the file is written.
    pub dialect: Arc<Dialect>,
    /// The file, for messages.
    pub file: Arc<str>,
    /// How many fields each record must have.
    pub fields: usize,
    /// All columns of the table, projected or not, so that `on_error = 'skip'` can check them.
    pub columns: Vec<Column>,
    /// The columns to deliver, as indexes into `columns`.
    pub projection: Vec<usize>,
    /// Rows in a batch.
    pub batch_rows: usize,
}

/// Decodes one file, or one range of it, block by block.
///
/// ```
/// use std::sync::Arc;
/// use arrow::datatypes::{DataType, Field};
/// use tidegate_operators::csv::{Column, Decoder, Dialect, Origin, Plan, Position};
/// let column = |index, name, kind| Column {
///     from: Origin::Field(index), field: Arc::new(Field::new(name, kind, true)), inferred: true,
/// };
/// let mut decoder = Decoder::new(Plan {
///     dialect: Arc::new(Dialect::default()),
///     file: "a.csv".into(),
///     fields: 2,
///     columns: vec![column(0, "a", DataType::Int64), column(1, "b", DataType::Utf8View)],
///     projection: vec![1],
///     batch_rows: 8192,
/// })?;
/// let mut batches = decoder.decode(b"1,x\n2,y\n", Position::default(), None)?;
/// batches.extend(decoder.finish()?);
/// assert_eq!((batches.len(), batches[0].num_rows(), batches[0].num_columns()), (1, 2, 1));
/// # Ok::<(), tidegate_operators::csv::Error>(())
/// ```
pub struct Decoder {
    plan: Plan,
    schema: SchemaRef,
    indexer: Indexer,
    nulls: Nulls,
    /// The projected columns, then those that are only checked; with their index in the plan.
    outputs: Vec<(usize, Output)>,
    rows: usize,
    tile: Tile,
    tile_rows: usize,
}

/// A value that does not fit: the row of the tile, and the column of the plan.
type Fault = (usize, usize);

/// One call's block.
struct Block<'a> {
    data: &'a [u8],
    at: Position,
    /// All of it is UTF-8.
    valid: bool,
    /// Lines before `counted` bytes.
    counted: usize,
    line: u64,
}

impl Block<'_> {
    /// The physical line of the record at `offset`; to be asked in rising order.
    fn line_of(&mut self, offset: usize) -> u64 {
        if offset < self.counted {
            (self.counted, self.line) = (0, self.at.line);
        }
        self.line += count_lines(&self.data[self.counted..offset]);
        self.counted = offset;
        self.line
    }
}

impl Decoder {
    /// Checks the plan.
    ///
    /// # Errors
    /// A column's type cannot be read from text, or it names a field the file does not have.
    pub fn new(plan: Plan) -> Result<Self, Error> {
        let skips = plan.dialect.on_error == OnError::Skip;
        let batch_rows = plan
            .batch_rows
            .min(BATCH_VALUES / plan.projection.len().max(1))
            .max(1);
        let mut outputs = Vec::new();
        let mut fields = Vec::new();
        for &index in &plan.projection {
            let column = plan.columns.get(index).ok_or_else(|| {
                Error::option(&plan.file, format!("there is no column {index} to project"))
            })?;
            outputs.push((index, output(column, &plan, batch_rows)?));
            fields.push(Arc::clone(&column.field));
        }
        for (index, column) in plan.columns.iter().enumerate() {
            let checked =
                matches!(column.from, Origin::Field(_)) && !is_text(column.field.data_type());
            if skips && checked && !plan.projection.contains(&index) {
                outputs.push((index, output(column, &plan, TILE_ROWS)?));
            }
        }
        Ok(Self {
            indexer: Indexer::new(&plan.dialect, plan.fields, !skips),
            nulls: Nulls::new(&plan.dialect),
            schema: Arc::new(Schema::new(fields)),
            outputs,
            rows: 0,
            tile: Tile::default(),
            tile_rows: (TILE_FIELDS / plan.fields.max(1)).clamp(1, TILE_ROWS),
            plan: Plan { batch_rows, ..plan },
        })
    }

    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Decodes a block as [`super::Splitter`] cuts them; returns the batches that became full. The rows of the last,
    /// unfinished one come with later blocks or from [`Decoder::finish`].
    ///
    /// With `on_error = 'skip'` rows that cannot be read go to `rejects` and nowhere else.
    ///
    /// # Errors
    /// With `on_error = 'fail'` the first fault of the block.
    pub fn decode(
        &mut self,
        data: &[u8],
        at: Position,
        rejects: Option<&RejectLog>,
    ) -> Result<Vec<RecordBatch>, Error> {
        let mut batches = Vec::new();
        let mut block = Block {
            data,
            at,
            valid: true,
            counted: 0,
            line: at.line,
        };
        self.check_block(&mut block)?;
        let (mut next, mut ordinal) = (0, 0);
        while next < data.len() {
            let room = self.tile_rows.min(self.plan.batch_rows - self.rows);
            let from = next;
            next = self
                .indexer
                .fill(data, from, room, &mut ordinal, &mut self.tile);
            if self.indexer.stops {
                self.convert_or_fail(&mut block)?;
            } else {
                self.convert_and_skip(&mut block, rejects);
            }
            debug_assert!(next > from, "every tile takes some bytes");
            if next <= from {
                break;
            }
            self.rows += self.tile.rows;
            let text: usize = self
                .projected()
                .iter()
                .map(|(_, output)| output.text_bytes())
                .sum();
            if self.rows >= self.plan.batch_rows || text >= BATCH_TEXT_BYTES {
                batches.extend(self.finish()?);
            }
        }
        Ok(batches)
    }

    /// The rows that did not fill a batch; to be called after the last block.
    ///
    /// # Errors
    /// A NULL in a column whose field does not allow one.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>, Error> {
        if self.rows == 0 {
            return Ok(None);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let projected = self.plan.projection.len();
        let columns = self.outputs[..projected]
            .iter_mut()
            .map(|(_, output)| output.finish())
            .collect();
        self.rows = 0;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(Some)
            .map_err(|error| Error::new(Kind::Cast, &self.plan.file, error.to_string()))
    }

    fn projected(&self) -> &[(usize, Output)] {
        &self.outputs[..self.plan.projection.len()]
    }

    fn check_block(&self, block: &mut Block<'_>) -> Result<(), Error> {
        if block.data.len() > Dialect::LINE_BYTES_LIMIT {
            return Err(Error::option(
                &self.plan.file,
                "a block is longer than a record may be",
            ));
        }
        block.valid = std::str::from_utf8(block.data).is_ok();
        Ok(())
    }

    /// The first row of the tile from `row` on that is not UTF-8, and the offending byte's place.
    fn invalid_row(&self, block: &Block<'_>, row: usize) -> Option<(usize, usize)> {
        (row..self.tile.rows).find_map(|row| {
            let (start, end) = self.tile.record(row);
            let error = std::str::from_utf8(&block.data[start..end]).err()?;
            Some((row, start + error.valid_up_to()))
        })
    }

    fn not_utf8(&self, block: &mut Block<'_>, (row, bad): (usize, usize)) -> Error {
        let offset = block.at.offset + bad as u64;
        let byte = block.data[bad];
        let (start, end) = self.tile.record(row);
        let line = block.line_of(start);
        Error::new(
            Kind::Encoding,
            &self.plan.file,
            format!("the byte 0x{byte:02x} at offset {offset} is not UTF-8"),
        )
        .at(line, &block.data[start..end])
        .hint("encoding='latin1' or 'utf-16' converts")
    }

    /// Converts the tile; the first fault of the block is the error.
    fn convert_or_fail(&mut self, block: &mut Block<'_>) -> Result<(), Error> {
        let invalid = if block.valid {
            None
        } else {
            self.invalid_row(block, 0)
        };
        let mut first: Option<Fault> = None;
        for (index, output) in &mut self.outputs {
            let mut cells = cells(&self.plan, &self.nulls, &self.tile, block, *index);
            // A later column matters only where it fails on an earlier row.
            cells.rows = first.or(invalid).map_or(cells.rows, |(row, _)| row);
            if let Err(row) = convert::column(&cells, output, None) {
                first = Some((row, *index));
            }
        }
        if let Some(fault) = first {
            return Err(cast_error(
                &self.plan,
                &self.nulls,
                &self.tile,
                block,
                fault,
            ));
        }
        if let Some(invalid) = invalid {
            return Err(self.not_utf8(block, invalid));
        }
        match self.tile.problems.first() {
            Some(problem) => Err(problem_error(&self.plan, block, problem)),
            None => Ok(()),
        }
    }

    /// Converts the tile without the rows that cannot be read.
    fn convert_and_skip(&mut self, block: &mut Block<'_>, rejects: Option<&RejectLog>) {
        let mut errors: Vec<(usize, Error)> = Vec::new();
        if !block.valid {
            self.skip_invalid(block, &mut errors);
        }
        let projected = self.plan.projection.len();
        let marks: Vec<_> = self
            .outputs
            .iter()
            .map(|(_, output)| output.mark())
            .collect();
        let mut faults: Vec<Fault> = Vec::new();
        for (index, output) in &mut self.outputs {
            let cells = cells(&self.plan, &self.nulls, &self.tile, block, *index);
            let mut rows = Vec::new();
            // Faults are collected, so there is none to return.
            let _ = convert::column(&cells, output, Some(&mut rows));
            faults.extend(rows.into_iter().map(|row| (row, *index)));
        }
        if !faults.is_empty() {
            faults.sort_unstable();
            faults.dedup_by_key(|(row, _)| *row);
            let mut out = vec![false; self.tile.rows];
            for fault in faults {
                out[fault.0] = true;
                let start = self.tile.record(fault.0).0;
                errors.push((
                    start,
                    cast_error(&self.plan, &self.nulls, &self.tile, block, fault),
                ));
            }
            self.tile.remove(&out);
            for ((index, output), mark) in self.outputs[..projected].iter_mut().zip(&marks) {
                output.truncate(*mark);
                let cells = cells(&self.plan, &self.nulls, &self.tile, block, *index);
                let _ = convert::column(&cells, output, Some(&mut Vec::new()));
            }
        }
        for ((_, output), mark) in self.outputs.iter_mut().zip(&marks).skip(projected) {
            output.truncate(*mark);
        }
        let problems = std::mem::take(&mut self.tile.problems);
        errors.extend(
            problems
                .iter()
                .map(|problem| (problem.start, problem_error(&self.plan, block, problem))),
        );
        if let Some(rejects) = rejects {
            errors
                .into_iter()
                .for_each(|(_, error)| rejects.push(error.into_reject()));
        }
    }

    /// Takes rows out of the tile that are not UTF-8.
    fn skip_invalid(&mut self, block: &mut Block<'_>, errors: &mut Vec<(usize, Error)>) {
        let mut out = vec![false; self.tile.rows];
        let mut row = 0;
        while let Some(invalid) = self.invalid_row(block, row) {
            out[invalid.0] = true;
            errors.push((self.tile.record(invalid.0).0, self.not_utf8(block, invalid)));
            row = invalid.0 + 1;
        }
        self.tile.remove(&out);
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("plan", &self.plan)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
    )
}

/// Whether values of a type can be read from text.
pub fn can_read(kind: &DataType) -> bool {
    Output::new(kind, 0).is_some()
}

fn output(column: &Column, plan: &Plan, rows: usize) -> Result<Output, Error> {
    let kind = column.field.data_type();
    let refuse =
        |reason: String| Err(Error::option(&plan.file, reason).column(column.field.name()));
    match column.from {
        Origin::Missing => Ok(Output::missing(kind)),
        Origin::Field(index) if index >= plan.fields.max(1) => {
            refuse(format!("the file has no field {index}"))
        }
        Origin::Row if !matches!(kind, DataType::Int64 | DataType::UInt64) => {
            refuse("a record's number is a BIGINT or UBIGINT".to_owned())
        }
        _ => match Output::new(kind, rows) {
            Some(output) => Ok(output),
            None => refuse(format!("values of type {kind} cannot be read from CSV")),
        },
    }
}

fn cells<'a>(
    plan: &'a Plan,
    nulls: &'a Nulls,
    tile: &'a Tile,
    block: &Block<'a>,
    index: usize,
) -> Cells<'a> {
    let column = &plan.columns[index];
    Cells {
        data: block.data,
        tile,
        rows: tile.rows,
        from: column.from,
        kind: column.field.data_type(),
        inferred: column.inferred,
        first_row: block.at.row,
        nulls,
        dialect: &plan.dialect,
    }
}

fn cast_error(
    plan: &Plan,
    nulls: &Nulls,
    tile: &Tile,
    block: &mut Block<'_>,
    (row, index): Fault,
) -> Error {
    let column = &plan.columns[index];
    let cells = cells(plan, nulls, tile, block, index);
    let (text, kind) = (cells.text(row), column.field.data_type());
    let reason = messages::no_value(&text, kind, column.inferred, &plan.dialect);
    let way_out = messages::way_out(
        column.field.name(),
        kind,
        column.inferred,
        &text,
        &plan.dialect,
    );
    let (start, end) = tile.record(row);
    let line = block.line_of(start);
    Error::new(Kind::Cast, &plan.file, reason)
        .at(line, &block.data[start..end])
        .column(column.field.name())
        .hint(way_out)
}

fn problem_error(plan: &Plan, block: &mut Block<'_>, problem: &Problem) -> Error {
    let line = block.line_of(problem.start);
    debug_assert!(matches!(
        problem.what,
        What::Fields | What::TextAfterQuote | What::Unterminated
    ));
    bad_record(
        block.data,
        problem.start,
        line,
        plan.fields,
        &plan.dialect,
        &plan.file,
    )
}
