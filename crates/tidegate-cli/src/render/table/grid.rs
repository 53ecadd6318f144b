//! The box of a table: borders, header with types, rows, the gap between head and tail.

use std::io::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::RenderError;
use super::fit::{BORDER, Fit, Wish, fit};

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Where values stand in their column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A value that is ready to be drawn.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    null: bool,
}

impl Cell {
    pub(super) fn value(text: String) -> Self {
        Self { text, null: false }
    }

    pub(super) fn null(text: &str) -> Self {
        Self {
            text: text.into(),
            null: true,
        }
    }
}

/// A column: what its header says and how wide it would like to be.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) align: Align,
    pub(super) width: usize,
}

impl Column {
    /// Makes it wide enough for its name and these cells.
    pub(super) fn widen<'a>(&mut self, cells: impl Iterator<Item = &'a Cell>) {
        let cells = cells.map(|cell| cell.text.width()).max().unwrap_or(0);
        self.width = self.width.max(self.name.width()).max(cells);
    }

    /// The width that shows its type, too.
    fn width_with_type(&self) -> usize {
        self.width.max(self.type_name.width())
    }
}

/// What stands where in a line of the table.
#[derive(Debug, Clone, Copy)]
enum Slot {
    /// A column and its width.
    Column(usize, usize),
    /// The columns that are left out.
    LeftOut,
}

impl Slot {
    fn width(self) -> usize {
        match self {
            Slot::Column(_, width) => width,
            Slot::LeftOut => 1,
        }
    }
}

/// A table whose widths are decided.
pub(super) struct Grid {
    columns: Vec<Column>,
    slots: Vec<Slot>,
    fitted: bool,
    color: bool,
}

impl Grid {
    pub(super) fn new(mut columns: Vec<Column>, width: Option<usize>, color: bool) -> Self {
        let needed: usize = columns.iter().map(|c| c.width_with_type() + BORDER).sum();
        if width.is_none_or(|width| needed < width) {
            // Types are the first to be cut where room is short.
            for column in &mut columns {
                column.width = column.width_with_type();
            }
        }
        let fit = match width {
            Some(width) => fit(&columns.iter().map(wish).collect::<Vec<_>>(), width),
            None => Fit {
                left: columns.iter().map(|c| c.width).enumerate().collect(),
                right: vec![],
            },
        };
        let slot = |(column, width): (usize, usize)| Slot::Column(column, width);
        let shown = fit.left.len() + fit.right.len();
        let mut slots: Vec<Slot> = fit.left.into_iter().map(slot).collect();
        if shown < columns.len() {
            slots.push(Slot::LeftOut);
        }
        slots.extend(fit.right.into_iter().map(slot));
        Self {
            columns,
            slots,
            fitted: width.is_some(),
            color,
        }
    }

    /// How many columns are shown, and how many there are.
    pub(super) fn columns_shown(&self) -> (usize, usize) {
        let shown = self.slots.iter().filter(|s| matches!(s, Slot::Column(..)));
        (shown.count(), self.columns.len())
    }

    pub(super) fn top(&self, out: &mut dyn Write) -> Result<(), RenderError> {
        self.border(["┌", "┬", "┐"], out)?;
        self.line(out, |column| (column.name.as_str(), BOLD))?;
        self.line(out, |column| (column.type_name.as_str(), DIM))?;
        self.border(["├", "┼", "┤"], out)
    }

    pub(super) fn bottom(&self, out: &mut dyn Write) -> Result<(), RenderError> {
        self.border(["└", "┴", "┘"], out)
    }

    /// The line that stands for the rows left out.
    pub(super) fn gap(&self, out: &mut dyn Write) -> Result<(), RenderError> {
        self.line(out, |_| ("·", DIM))
    }

    pub(super) fn row(&self, cells: &[Cell], out: &mut dyn Write) -> Result<(), RenderError> {
        for slot in &self.slots {
            let drawn = match *slot {
                Slot::Column(at, width) => {
                    let style = if cells[at].null { DIM } else { "" };
                    self.padded(&cells[at].text, style, self.columns[at].align, width)
                }
                Slot::LeftOut => self.padded("…", DIM, Align::Left, 1),
            };
            write!(out, "│ {drawn} ")?;
        }
        Ok(writeln!(out, "│")?)
    }

    /// A line that says something of each column; headers of numbers stand at the right as they do.
    fn line(
        &self,
        out: &mut dyn Write,
        text: impl Fn(&Column) -> (&str, &'static str),
    ) -> Result<(), RenderError> {
        for slot in &self.slots {
            let drawn = match *slot {
                Slot::Column(at, width) => {
                    let (text, style) = text(&self.columns[at]);
                    self.padded(text, style, self.columns[at].align, width)
                }
                Slot::LeftOut => self.padded("…", DIM, Align::Left, 1),
            };
            write!(out, "│ {drawn} ")?;
        }
        Ok(writeln!(out, "│")?)
    }

    fn border(
        &self,
        [left, between, right]: [&str; 3],
        out: &mut dyn Write,
    ) -> Result<(), RenderError> {
        for (at, slot) in self.slots.iter().enumerate() {
            let corner = if at == 0 { left } else { between };
            write!(out, "{corner}{}", "─".repeat(slot.width() + 2))?;
        }
        Ok(writeln!(out, "{right}")?)
    }

    fn padded(&self, text: &str, style: &str, align: Align, width: usize) -> String {
        let cut = match self.fitted && text.width() > width {
            true => shorten(text, width),
            false => text.to_string(),
        };
        let space = " ".repeat(width.saturating_sub(cut.width()));
        let styled = match self.color && !style.is_empty() {
            true => format!("{style}{cut}{PLAIN}"),
            false => cut,
        };
        match align {
            Align::Left => format!("{styled}{space}"),
            Align::Right => format!("{space}{styled}"),
        }
    }
}

fn wish(column: &Column) -> Wish {
    Wish {
        natural: column.width,
        may_be_cut: column.align == Align::Left,
    }
}

/// The start of a text and `…`, at most so wide.
fn shorten(text: &str, width: usize) -> String {
    let mut short = String::new();
    let mut room = width.saturating_sub(1);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > room {
            break;
        }
        room -= wide;
        short.push(c);
    }
    short.push('…');
    short
}
