//! A table in a box. On a terminal it is fitted: head and tail of the rows, columns as narrow as
//! they must be. Elsewhere every row and value is shown in full, in bounded memory: the widths are
//! those of the first rows, and a later value that is wider pushes its row out.

mod fit;
mod grid;

use std::collections::VecDeque;
use std::io::Write;

use tidegate::arrow::array::RecordBatch;
use tidegate::arrow::datatypes::SchemaRef;

use super::value::{Values, is_number, visible};
use super::{Look, RenderError, Renderer};
use grid::{Align, Cell, Column, Grid};

/// Rows that decide the widths of a table that shows all rows.
const WIDTH_SAMPLE_ROWS: usize = 1000;
/// Bytes of a value that can matter on a terminal of a given width: four for each column of it.
const BYTES_PER_COLUMN: usize = 4;

pub(super) fn renderer(schema: &SchemaRef, look: &Look) -> Box<dyn Renderer> {
    let frame = Frame {
        schema: SchemaRef::clone(schema),
        look: look.clone(),
    };
    match look.width {
        Some(_) if look.max_rows > 0 => Box::new(Fitted {
            frame,
            rows_seen: 0,
            head: Vec::new(),
            tail: VecDeque::new(),
            tail_rows: 0,
        }),
        _ => Box::new(Full {
            frame,
            sample: Vec::new(),
            sample_rows: 0,
            grid: None,
        }),
    }
}

/// What both kinds of table know.
struct Frame {
    schema: SchemaRef,
    look: Look,
}

impl Frame {
    fn columns(&self) -> Vec<Column> {
        let fields = self.schema.fields().iter();
        let column = |field: &std::sync::Arc<tidegate::arrow::datatypes::Field>| Column {
            name: visible(field.name()).into_owned(),
            type_name: tidegate::type_name(field.data_type()),
            align: match is_number(field.data_type()) {
                true => Align::Right,
                false => Align::Left,
            },
            width: 0,
        };
        fields.map(column).collect()
    }

    /// Formats rows of a batch.
    fn cells(
        &self,
        batch: &RecordBatch,
        rows: std::ops::Range<usize>,
        into: &mut Vec<Vec<Cell>>,
    ) -> Result<(), RenderError> {
        let values = Values::new(batch)?;
        let most = match self.look.width {
            Some(width) => width * BYTES_PER_COLUMN + BYTES_PER_COLUMN,
            None => usize::MAX,
        };
        for row in rows {
            let mut cells = Vec::with_capacity(batch.num_columns());
            for column in 0..batch.num_columns() {
                let mut text = String::new();
                cells.push(match values.write(column, row, most, &mut text)? {
                    true => Cell::value(visible(&text).into_owned()),
                    false => Cell::null(&self.look.null_text),
                });
            }
            into.push(cells);
        }
        Ok(())
    }

    fn grid(&self, rows: &[Vec<Cell>]) -> Grid {
        let mut columns = self.columns();
        for (at, column) in columns.iter_mut().enumerate() {
            column.widen(rows.iter().map(|row| &row[at]));
        }
        Grid::new(columns, self.look.width, self.look.color)
    }
}

/// Keeps the first and the last rows, and draws when all are known.
struct Fitted {
    frame: Frame,
    rows_seen: usize,
    head: Vec<RecordBatch>,
    tail: VecDeque<RecordBatch>,
    tail_rows: usize,
}

impl Fitted {
    fn half(&self) -> usize {
        self.frame.look.max_rows.div_ceil(2)
    }

    /// The rows that are shown, and how many of them stand before the gap.
    fn shown(&self) -> Result<(Vec<Vec<Cell>>, usize), RenderError> {
        let mut rows = Vec::new();
        let all = self.rows_seen <= self.frame.look.max_rows;
        let mut wanted = if all { self.rows_seen } else { self.half() };
        for batch in &self.head {
            let take = wanted.min(batch.num_rows());
            self.frame.cells(batch, 0..take, &mut rows)?;
            wanted -= take;
        }
        let before_gap = rows.len();
        if !all {
            let mut skip = self.tail_rows - (self.frame.look.max_rows - before_gap);
            for batch in &self.tail {
                let from = skip.min(batch.num_rows());
                self.frame.cells(batch, from..batch.num_rows(), &mut rows)?;
                skip -= from;
            }
        }
        Ok((rows, before_gap))
    }
}

impl Renderer for Fitted {
    fn begin(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, _: &mut dyn Write) -> Result<(), RenderError> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        if self.rows_seen < self.frame.look.max_rows {
            let room = self.frame.look.max_rows - self.rows_seen;
            self.head.push(batch.slice(0, rows.min(room)));
        }
        self.rows_seen += rows;
        self.tail.push_back(batch.clone());
        self.tail_rows += rows;
        while let Some(first) = self.tail.front()
            && self.tail_rows - first.num_rows() >= self.half()
        {
            self.tail_rows -= first.num_rows();
            self.tail.pop_front();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        let (rows, before_gap) = self.shown()?;
        let grid = self.frame.grid(&rows);
        grid.top(out)?;
        for (at, row) in rows.iter().enumerate() {
            if at == before_gap {
                grid.gap(out)?;
            }
            grid.row(row, out)?;
        }
        grid.bottom(out)?;
        let mut remarks = Vec::new();
        if rows.len() < self.rows_seen {
            remarks.push(counted(rows.len(), self.rows_seen, "rows"));
        }
        remarks.extend(columns_left_out(&grid));
        if !remarks.is_empty() {
            writeln!(out, "{}", remarks.join(", "))?;
        }
        Ok(())
    }
}

/// Draws rows as they come, once the first have decided the widths.
struct Full {
    frame: Frame,
    sample: Vec<Vec<Cell>>,
    sample_rows: usize,
    grid: Option<Grid>,
}

impl Full {
    /// Draws what was kept to decide the widths.
    fn draw_sample(&mut self, out: &mut dyn Write) -> Result<Grid, RenderError> {
        let grid = self.frame.grid(&self.sample);
        grid.top(out)?;
        for row in self.sample.drain(..) {
            grid.row(&row, out)?;
        }
        Ok(grid)
    }
}

impl Renderer for Full {
    fn begin(&mut self, _: &mut dyn Write) -> Result<(), RenderError> {
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), RenderError> {
        let mut from = 0;
        if self.grid.is_none() {
            from = batch.num_rows().min(WIDTH_SAMPLE_ROWS - self.sample_rows);
            self.frame.cells(batch, 0..from, &mut self.sample)?;
            self.sample_rows += from;
            if self.sample_rows == WIDTH_SAMPLE_ROWS {
                self.grid = Some(self.draw_sample(out)?);
            }
        }
        if let Some(grid) = &self.grid {
            let mut rows = Vec::new();
            for row in from..batch.num_rows() {
                self.frame.cells(batch, row..row + 1, &mut rows)?;
                for row in rows.drain(..) {
                    grid.row(&row, out)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), RenderError> {
        let grid = match self.grid.take() {
            Some(grid) => grid,
            None => self.draw_sample(out)?,
        };
        grid.bottom(out)?;
        if let Some(remark) = columns_left_out(&grid) {
            writeln!(out, "{remark}")?;
        }
        Ok(())
    }
}

fn columns_left_out(grid: &Grid) -> Option<String> {
    let (shown, all) = grid.columns_shown();
    (shown < all).then(|| counted(shown, all, "columns"))
}

fn counted(shown: usize, all: usize, what: &str) -> String {
    format!("{} of {} {what}", grouped(shown), grouped(all))
}

/// A number with a comma after every three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
