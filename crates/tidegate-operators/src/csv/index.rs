//! The decoder's first pass: where each field of a tile of records starts.
//!
//! A tile is small enough to stay in the cache nearest to the core while the columns are converted from it.

use super::Dialect;
use super::masks::{CHUNK, Lanes, Level, Masks, Needles, Quoting, chunk_at, with_lanes};

/// Set on the slot of a field that the record does not have.
const MISSING: u32 = 1 << 31;

/// Slots written past the last used one: a chunk's delimiters, eight at a time.
const SLACK: usize = CHUNK + 16;

/// Field places of some consecutive records of a block.
///
/// INVARIANT: slots rise within a row, and the last of a row is at most the block's length + 1.
#[derive(Debug, Default)]
pub(super) struct Tile {
    /// For each row: where each field starts, and one past the byte after the last one.
    slots: Vec<u32>,
    stride: usize,
    pub(super) rows: usize,
    /// Record numbers in the block.
    pub(super) ordinals: Vec<u32>,
    /// Some quoted field may hold an escape.
    pub(super) escaped: bool,
    /// Some field may be missing.
    pub(super) padded: bool,
    pub(super) problems: Vec<Problem>,
}

/// A record that is left out of the tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) start: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    TextAfterQuote,
    Fields,
    Unterminated,
}

impl Tile {
    /// The bytes of a field; none when the record does not have it.
    #[inline(always)]
    pub(super) fn place(&self, row: usize, field: usize) -> Option<(usize, usize)> {
        let slot = row * self.stride + field;
        let (start, after) = (self.slots[slot], self.slots[slot + 1]);
        if self.padded && after & MISSING != 0 {
            return None;
        }
        Some((start as usize, (after as usize).wrapping_sub(1)))
    }

    /// Start and end of a whole record, without the line end.
    pub(super) fn record(&self, row: usize) -> (usize, usize) {
        let slots = &self.slots[row * self.stride..][..self.stride];
        let last = slots.iter().rev().find(|&slot| slot & MISSING == 0);
        let start = slots[0] as usize;
        (
            start,
            last.map_or(start, |&last| last as usize - 1).max(start),
        )
    }

    /// Takes the rows out for which `out` is set.
    pub(super) fn remove(&mut self, out: &[bool]) {
        let mut kept = 0;
        for (row, _) in out.iter().enumerate().filter(|(_, out)| !**out) {
            let from = row * self.stride;
            self.slots
                .copy_within(from..from + self.stride, kept * self.stride);
            self.ordinals[kept] = self.ordinals[row];
            kept += 1;
        }
        self.rows = kept;
        self.ordinals.truncate(kept);
    }
}

/// Finds fields in blocks of whole records.
#[derive(Debug)]
pub(super) struct Indexer {
    needles: Needles,
    level: Level,
    fields: usize,
    quote: Option<u8>,
    doubles: bool,
    comment: Option<u8>,
    padding: bool,
    /// Stop before the first problem instead of going on behind it.
    pub(super) stops: bool,
}

impl Indexer {
    pub(super) fn new(dialect: &Dialect, fields: usize, stops: bool) -> Self {
        Self {
            needles: Needles::new(dialect),
            level: Level::detect(),
            fields: fields.max(1),
            quote: dialect.quote,
            doubles: dialect.doubles(),
            comment: dialect.comment,
            padding: dialect.null_padding,
            stops,
        }
    }

    /// Fills `tile` with at most `rows` records from `from` on; returns where the next one starts. `ordinal` counts
    /// records, those with a problem too.
    pub(super) fn fill(
        &self,
        data: &[u8],
        from: usize,
        rows: usize,
        ordinal: &mut u32,
        tile: &mut Tile,
    ) -> usize {
        tile.stride = self.fields + 1;
        tile.rows = 0;
        tile.escaped = false;
        tile.padded = false;
        tile.problems.clear();
        tile.ordinals.clear();
        let needed = (rows + 1) * tile.stride + SLACK + 2;
        if tile.slots.len() < needed {
            tile.slots.resize(needed, 0);
        }
        tile.slots[0] = from as u32;
        let mut pass = Pass {
            indexer: self,
            data,
            row_at: 0,
            used: 1,
            bad: false,
            rows_max: rows,
            ordinal: *ordinal,
            quoting: Quoting::default(),
            in_comment: self.comment.is_some() && data.get(from).copied() == self.comment,
            tile,
        };
        with_lanes!(self.level, pass_with, pass_avx2, (&mut pass, from));
        *ordinal = pass.ordinal;
        pass.tile.slots[pass.row_at] as usize
    }
}

/// The state of one filling.
struct Pass<'a> {
    indexer: &'a Indexer,
    data: &'a [u8],
    tile: &'a mut Tile,
    /// The first slot of the row at hand, and the first unused one.
    row_at: usize,
    used: usize,
    /// Text follows a closing quote in the row at hand.
    bad: bool,
    rows_max: usize,
    ordinal: u32,
    quoting: Quoting,
    in_comment: bool,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Full,
}

impl Pass<'_> {
    #[inline(always)]
    fn row_start(&self) -> usize {
        self.tile.slots[self.row_at] as usize
    }

    /// Notes the delimiters in `bits`.
    #[inline(always)]
    fn delimiters(&mut self, mut bits: u64, base: usize) {
        let count = bits.count_ones() as usize;
        let next = base as u32 + 1;
        let mut at = self.used;
        self.used += count;
        loop {
            // `fill` left SLACK slots; `used` is bounded by the row's fields before each call.
            let slots = &mut self.tile.slots[at..at + 8];
            for slot in slots {
                *slot = next.wrapping_add(bits.trailing_zeros());
                bits &= bits.wrapping_sub(1);
            }
            at += 8;
            if at >= self.used {
                break;
            }
        }
        // A row with too many fields need not be known in full.
        self.used = self.used.min(self.row_at + self.tile.stride + 1);
    }

    /// A chunk whose quotes are in their places.
    #[inline(always)]
    fn chunk(&mut self, masks: &Masks, inside: u64, base: usize) -> Flow {
        let mut line = masks.line & !inside;
        let mut delimiter = masks.delimiter & !inside;
        while line != 0 {
            let at = line.trailing_zeros();
            line &= line - 1;
            let below = (1u64 << at) - 1;
            if delimiter & below != 0 {
                self.delimiters(delimiter & below, base);
                delimiter &= !below;
            }
            if self.line_end(base + at as usize) == Flow::Full {
                return Flow::Full;
            }
        }
        if delimiter != 0 {
            self.delimiters(delimiter, base);
        }
        Flow::On
    }

    /// A line end (or the end of the data) outside quotes.
    #[inline(always)]
    fn line_end(&mut self, at: usize) -> Flow {
        let start = self.row_start();
        if at < start {
            return Flow::On; // The second half of a line end.
        }
        let half = self.data.get(at) == Some(&b'\r') && self.data.get(at + 1) == Some(&b'\n');
        let next = (at + 1 + usize::from(half)).min(self.data.len()) as u32;
        if self.used - self.row_at == self.tile.stride - 1
            && !self.bad
            && (start != at || self.indexer.fields == 1)
            && !self.in_comment
        {
            self.tile.slots[self.used] = at as u32 + 1;
            self.row_at = self.used + 1;
            self.tile.slots[self.row_at] = next;
            self.used = self.row_at + 1;
            self.tile.ordinals.push(self.ordinal);
            self.ordinal += 1;
            self.tile.rows += 1;
            return if self.tile.rows == self.rows_max {
                Flow::Full
            } else {
                Flow::On
            };
        }
        self.odd_line(start, at, next)
    }

    /// A comment, a blank line, or a record that is not as it should be.
    #[cold]
    fn odd_line(&mut self, start: usize, at: usize, next: u32) -> Flow {
        let fields = self.used - self.row_at;
        let stride = self.tile.stride;
        if !self.in_comment && start != at {
            if self.bad || fields >= stride || !self.indexer.padding {
                let what = if self.bad {
                    What::TextAfterQuote
                } else {
                    What::Fields
                };
                self.tile.problems.push(Problem { start, what });
                if self.indexer.stops {
                    return Flow::Full;
                }
                self.ordinal += 1;
            } else {
                self.tile.slots[self.used] = at as u32 + 1;
                self.tile.slots[self.used + 1..self.row_at + stride]
                    .fill((at as u32 + 1) | MISSING);
                self.tile.padded = true;
                self.row_at += stride;
                self.tile.ordinals.push(self.ordinal);
                self.ordinal += 1;
                self.tile.rows += 1;
            }
        }
        self.bad = false;
        self.tile.slots[self.row_at] = next;
        self.used = self.row_at + 1;
        if self.tile.rows == self.rows_max {
            Flow::Full
        } else {
            Flow::On
        }
    }

    /// A chunk byte by byte.
    #[cold]
    fn slowly(&mut self, masks: &Masks, base: usize) -> Flow {
        let indexer = self.indexer;
        if self.quoting.closed && self.data.get(base).copied() == indexer.quote {
            self.quoting.inside = true;
            self.quoting.skip_to = base + 1;
            self.tile.escaped = true;
        }
        self.quoting.closed = false;
        let mut bits = masks.delimiter | masks.line | masks.special;
        while bits != 0 {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            let at = base + bit as usize;
            if at < self.quoting.skip_to {
                continue;
            }
            if masks.line >> bit & 1 != 0 {
                if !self.quoting.inside {
                    if self.line_end(at) == Flow::Full {
                        return Flow::Full;
                    }
                    let next = self.row_start();
                    self.in_comment = indexer.comment.is_some()
                        && self.data.get(next).copied() == indexer.comment;
                }
            } else if self.in_comment {
            } else if masks.delimiter >> bit & 1 != 0 {
                if !self.quoting.inside {
                    self.delimiters(1 << bit, base);
                }
            } else {
                self.special(at);
            }
        }
        Flow::On
    }

    fn special(&mut self, at: usize) {
        let indexer = self.indexer;
        let is_quote = Some(self.data[at]) == indexer.quote;
        if !self.quoting.inside {
            self.quoting.inside = is_quote && indexer.needles.opens(self.data, at);
        } else if !is_quote || (indexer.doubles && self.data.get(at + 1).copied() == indexer.quote)
        {
            self.quoting.skip_to = at + 2;
            self.tile.escaped = true;
        } else {
            self.quoting.inside = false;
            self.bad |= self
                .data
                .get(at + 1)
                .is_some_and(|&byte| !indexer.needles.separates(byte));
        }
    }

    /// The block ended without a line end.
    fn end(&mut self) {
        let start = self.row_start();
        if start >= self.data.len() {
            return;
        }
        if self.quoting.inside && !self.in_comment {
            self.tile.problems.push(Problem {
                start,
                what: What::Unterminated,
            });
            if !self.indexer.stops {
                self.ordinal += 1;
                self.tile.slots[self.row_at] = self.data.len() as u32;
            }
            return;
        }
        self.line_end(self.data.len());
    }
}

#[inline(always)]
fn pass_with<L: Lanes>(pass: &mut Pass<'_>, from: usize) {
    let data = pass.data;
    let mut spare = [0; CHUNK];
    let mut base = from;
    while base < data.len() {
        let masks = L::masks(&pass.indexer.needles, chunk_at(data, base, &mut spare));
        let inside = match pass.indexer.comment {
            None => pass
                .indexer
                .needles
                .inside(&masks, &mut pass.quoting, data, base),
            Some(_) => None,
        };
        let flow = match inside {
            Some((inside, escaped)) => {
                pass.tile.escaped |= escaped;
                pass.chunk(&masks, inside, base)
            }
            None => pass.slowly(&masks, base),
        };
        if flow == Flow::Full {
            return;
        }
        base += CHUNK;
    }
    pass.end();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
unsafe fn pass_avx2(pass: &mut Pass<'_>, from: usize) {
    pass_with::<super::masks::Avx2>(pass, from);
}
