//! Converts one column of a tile: from the bytes of its fields to values.

use std::borrow::Cow;

use arrow::array::NullBufferBuilder;
use arrow::datatypes::DataType;

use super::index::Tile;
use super::number::{self, Cell, DecimalShape};
use super::output::{Output, Values, view};
use super::record::unescape;
use super::{Dialect, Origin, temporal};

/// Which fields are NULL.
#[derive(Debug, Clone)]
pub(super) struct Nulls {
    strings: Vec<Vec<u8>>,
    /// Only the empty field is.
    usual: bool,
    empty: bool,
    quoted: bool,
}

impl Nulls {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let strings: Vec<Vec<u8>> = dialect
            .null_strings
            .iter()
            .map(|text| text.clone().into_bytes())
            .collect();
        let empty = strings.is_empty() || strings.iter().any(Vec::is_empty);
        Self {
            usual: strings.iter().all(Vec::is_empty),
            empty,
            quoted: dialect.quoted_nulls,
            strings,
        }
    }

    pub(super) fn holds(&self, text: &[u8]) -> bool {
        if text.is_empty() {
            self.empty
        } else {
            self.strings.iter().any(|string| string == text)
        }
    }

    pub(super) fn holds_quoted(&self, text: &[u8]) -> bool {
        self.quoted && self.holds(text)
    }
}

/// The fields of one column in a tile.
pub(super) struct Cells<'a> {
    pub(super) data: &'a [u8],
    pub(super) tile: &'a Tile,
    /// Rows to convert.
    pub(super) rows: usize,
    pub(super) from: Origin,
    pub(super) kind: &'a DataType,
    pub(super) inferred: bool,
    /// The number of the block's first record.
    pub(super) first_row: u64,
    pub(super) nulls: &'a Nulls,
    pub(super) dialect: &'a Dialect,
}

/// How a field is looked at.
#[derive(Clone, Copy)]
enum Look {
    /// As it stands; without parsing it when it may be a text for NULL.
    At(bool),
    /// Without quotes and spaces; if it is no value then, it is none.
    Closer,
    Null,
}

/// Converts `cells.rows` rows. A row that cannot be converted is the error, or with `faults` is noted there and NULL.
pub(super) fn column(
    cells: &Cells<'_>,
    output: &mut Output,
    faults: Option<&mut Vec<usize>>,
) -> Result<(), usize> {
    let field = match cells.from {
        Origin::Field(field) => field,
        Origin::Missing => {
            if let Values::Nothing(rows) = &mut output.values {
                *rows += cells.rows;
            }
            return Ok(());
        }
        Origin::Row => {
            row_numbers(cells, output);
            return Ok(());
        }
    };
    let Output { values, nulls, .. } = output;
    let mut fill = Fill {
        cells,
        field,
        nulls,
        faults,
    };
    let inferred = cells.inferred;
    let point = cells.dialect.decimal_separator;
    let plain = |cell: Cell<'_>| !inferred || !number::loses_signs(cell);
    let exact = |cell: Cell<'_>| !inferred || number::keeps_digits(cell);
    macro_rules! integers {
        ($values:expr, $parse:path) => {
            fill.primitive($values, |cell| match $parse(cell) {
                Some(value) if plain(cell) => value.try_into().ok(),
                _ => None,
            })
        };
    }
    match values {
        Values::Boolean(values) => {
            let push = |value: Option<bool>| values.append(value.unwrap_or(false));
            match inferred {
                true => fill.each(push, number::boolean_word),
                false => fill.each(push, number::boolean),
            }
        }
        Values::Int8(values) => integers!(values, number::int64),
        Values::Int16(values) => integers!(values, number::int64),
        Values::Int32(values) => integers!(values, number::int64),
        Values::Int64(values) => integers!(values, number::int64),
        Values::UInt8(values) => integers!(values, number::uint64),
        Values::UInt16(values) => integers!(values, number::uint64),
        Values::UInt32(values) => integers!(values, number::uint64),
        Values::UInt64(values) => integers!(values, number::uint64),
        Values::Float32(values) => fill.primitive(values, |cell| {
            number::float32(cell, point).filter(|_| plain(cell) && exact(cell))
        }),
        Values::Float64(values) => fill.primitive(values, |cell| {
            number::float64(cell, point).filter(|_| plain(cell) && exact(cell))
        }),
        Values::Decimal(values) => {
            let shape = decimal_shape(cells.kind, point);
            fill.primitive(values, |cell| {
                number::decimal(cell, shape).filter(|_| plain(cell))
            })
        }
        Values::Date(values) => match &cells.dialect.date_format {
            None => fill.primitive(values, temporal::date),
            Some(format) => fill.primitive(values, |cell| temporal::date_by(cell, format)),
        },
        Values::Timestamp(values) => fill.timestamps(values),
        Values::View { views, bytes } => fill.views(views, bytes),
        Values::Text { ends, bytes } => fill.texts(ends, bytes),
        Values::LargeText { ends, bytes } => fill.texts(ends, bytes),
        Values::Nothing(rows) => {
            *rows += cells.rows;
            Ok(())
        }
    }
}

fn decimal_shape(kind: &DataType, point: u8) -> DecimalShape {
    match *kind {
        DataType::Decimal128(precision, scale) => DecimalShape {
            precision: usize::from(precision),
            scale: usize::try_from(scale).unwrap_or(0),
            point,
        },
        _ => DecimalShape {
            precision: 38,
            scale: 0,
            point,
        },
    }
}

fn row_numbers(cells: &Cells<'_>, output: &mut Output) {
    let numbers = cells.tile.ordinals[..cells.rows]
        .iter()
        .map(|&ordinal| cells.first_row + u64::from(ordinal));
    match &mut output.values {
        Values::UInt64(values) => values.extend(numbers),
        Values::Int64(values) => values.extend(numbers.map(|number| number as i64)),
        _ => {}
    }
    output.nulls.append_n_non_nulls(cells.rows);
}

impl<'a> Cells<'a> {
    /// The text of a field, for a message.
    pub(super) fn text(&self, row: usize) -> Cow<'a, [u8]> {
        let Origin::Field(field) = self.from else {
            return Cow::Borrowed(&[]);
        };
        let Some((start, end)) = self.tile.place(row, field) else {
            return Cow::Borrowed(&[]);
        };
        match self.unquoted(start, end) {
            Some(cell) => {
                let mut text = Vec::new();
                unescape(cell.bytes(), self.dialect, &mut text);
                Cow::Owned(text)
            }
            None => Cow::Borrowed(&self.data[start..end]),
        }
    }

    /// The inside of a quoted field.
    #[inline(always)]
    fn unquoted(&self, start: usize, end: usize) -> Option<Cell<'a>> {
        let quoted = end - start >= 2 && Some(self.data[start]) == self.dialect.quote;
        quoted.then(|| self.cell(start + 1, end - 1))
    }

    #[inline(always)]
    fn cell(&self, start: usize, end: usize) -> Cell<'a> {
        Cell {
            data: self.data,
            start,
            end,
        }
    }

    /// What a field is that is no value as it stands: NULL, or a value within quotes or spaces.
    #[inline(never)]
    fn closer(&self, cell: Cell<'a>) -> (Cell<'a>, Look) {
        let (inner, null) = match self.unquoted(cell.start, cell.end) {
            Some(inner) => (inner, self.nulls.holds_quoted(inner.bytes())),
            None => (cell, self.nulls.holds(cell.bytes())),
        };
        let look = if null { Look::Null } else { Look::Closer };
        (inner.trimmed(), look)
    }
}

struct Fill<'a, 'b> {
    cells: &'a Cells<'b>,
    field: usize,
    nulls: &'a mut NullBufferBuilder,
    faults: Option<&'a mut Vec<usize>>,
}

impl Fill<'_, '_> {
    #[inline(always)]
    fn primitive<T: Default>(
        &mut self,
        values: &mut Vec<T>,
        parse: impl Fn(Cell<'_>) -> Option<T>,
    ) -> Result<(), usize> {
        values.reserve(self.cells.rows);
        self.each(|value| values.push(value.unwrap_or_default()), parse)
    }

    /// Parses each field and pushes what it is, or nothing for NULL.
    #[inline(always)]
    fn each<T>(
        &mut self,
        mut push: impl FnMut(Option<T>),
        parse: impl Fn(Cell<'_>) -> Option<T>,
    ) -> Result<(), usize> {
        let cells = self.cells;
        let mut valid = 0;
        for row in 0..cells.rows {
            let (mut cell, mut look) = match cells.tile.place(row, self.field) {
                Some((start, end)) => (cells.cell(start, end), Look::At(cells.nulls.usual)),
                None => (cells.cell(0, 0), Look::Null),
            };
            // `parse` is called in one place, so that it becomes part of the loop.
            let found = loop {
                match look {
                    Look::At(false) => {}
                    Look::Null => break None,
                    Look::At(true) | Look::Closer => {
                        let value = parse(cell);
                        if value.is_some() {
                            break value;
                        }
                    }
                }
                if let Look::Closer = look {
                    match &mut self.faults {
                        Some(faults) => faults.push(row),
                        None => return Err(row),
                    }
                    break None;
                }
                (cell, look) = cells.closer(cell);
            };
            if found.is_some() {
                valid += 1;
                push(found);
                continue;
            }
            push(None);
            self.nulls.append_n_non_nulls(valid);
            self.nulls.append_null();
            valid = 0;
        }
        self.nulls.append_n_non_nulls(valid);
        Ok(())
    }

    fn timestamps(&mut self, values: &mut Vec<i64>) -> Result<(), usize> {
        let DataType::Timestamp(unit, zone) = self.cells.kind else {
            return Ok(());
        };
        let (unit, wants_zone, inferred) = (*unit, zone.is_some(), self.cells.inferred);
        // A zone must not get lost, nor be made up where other rows say theirs.
        let fits = |stamp: &temporal::Stamp| {
            if wants_zone {
                stamp.zoned || !inferred
            } else {
                !stamp.zoned
            }
        };
        match &self.cells.dialect.timestamp_format {
            None => self.primitive(values, |cell| {
                temporal::stamp(cell).filter(fits)?.count(unit)
            }),
            Some(format) => self.primitive(values, |cell| {
                temporal::stamp_by(cell, format).filter(fits)?.count(unit)
            }),
        }
    }

    /// Gives the text of each field to `push`, with NULL as none.
    #[inline(always)]
    fn each_text(&mut self, mut push: impl FnMut(Option<Cell<'_>>)) {
        let cells = self.cells;
        let mut unescaped = Vec::new();
        let mut valid = 0;
        for row in 0..cells.rows {
            let place = cells.tile.place(row, self.field);
            let text = match place {
                None => None,
                Some((start, end)) if start == end => (!cells.nulls.empty).then_some(Cell {
                    data: cells.data,
                    start,
                    end,
                }),
                Some((start, end)) => match cells.unquoted(start, end) {
                    Some(cell) if cells.nulls.quoted && cells.nulls.holds_quoted(cell.bytes()) => {
                        None
                    }
                    Some(cell) if cells.tile.escaped && has_escape(cell.bytes(), cells.dialect) => {
                        unescaped.clear();
                        unescape(cell.bytes(), cells.dialect, &mut unescaped);
                        Some(Cell {
                            data: &unescaped,
                            start: 0,
                            end: unescaped.len(),
                        })
                    }
                    Some(cell) => Some(cell),
                    None if !cells.nulls.usual && cells.nulls.holds(&cells.data[start..end]) => {
                        None
                    }
                    None => Some(Cell {
                        data: cells.data,
                        start,
                        end,
                    }),
                },
            };
            let null = text.is_none();
            push(text);
            if null {
                self.nulls.append_n_non_nulls(valid);
                self.nulls.append_null();
                valid = 0;
            } else {
                valid += 1;
            }
        }
        self.nulls.append_n_non_nulls(valid);
    }

    fn views(&mut self, views: &mut Vec<u128>, bytes: &mut Vec<u8>) -> Result<(), usize> {
        views.reserve(self.cells.rows);
        self.each_text(|text| {
            views.push(text.map_or(0, |cell| view(cell.data, cell.start, cell.end, bytes)));
        });
        Ok(())
    }

    fn texts<T: TryFrom<usize>>(
        &mut self,
        ends: &mut Vec<T>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), usize> {
        ends.reserve(self.cells.rows);
        self.each_text(|text| {
            if let Some(cell) = text {
                bytes.extend_from_slice(cell.bytes());
            }
            // A batch's text is bounded far below what an offset can say.
            ends.extend(T::try_from(bytes.len()).ok());
        });
        Ok(())
    }
}

fn has_escape(bytes: &[u8], dialect: &Dialect) -> bool {
    dialect
        .escape
        .or(dialect.quote)
        .is_some_and(|escape| memchr::memchr(escape, bytes).is_some())
}
