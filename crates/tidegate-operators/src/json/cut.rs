//! Where the records of a JSON file end: lines, values one after another, or elements of an array.

use std::sync::Arc;

use datafusion::error::Result;
use memchr::{memchr, memchr_iter, memrchr};

use super::{BYTE_ORDER_MARK, Layout};
use crate::input::{Error, Place};
use crate::source::text::{At, Cut, Piece};

/// Cuts the file `name`, which has the given layout.
pub(crate) fn cutter(layout: Layout, name: &Arc<str>) -> Box<dyn Cut> {
    match layout {
        Layout::Lines => Box::new(Lines { at: At::START }),
        Layout::Values => Box::new(Nested::new(false, name)),
        Layout::Array => Box::new(Nested::new(true, name)),
    }
}

/// A byte order mark at the very beginning says nothing.
fn blank_mark(data: &mut [u8], at: At) {
    if at.offset == 0 && data.starts_with(&BYTE_ORDER_MARK) {
        data[..BYTE_ORDER_MARK.len()].fill(b' ');
    }
}

/// One record a line. JSON text holds no line ends, so each line end ends a record.
struct Lines {
    at: At,
}

impl Cut for Lines {
    fn cut(&mut self, data: &mut [u8], at_end: bool, pieces: &mut Vec<Piece>) -> Result<usize> {
        let at = self.at;
        blank_mark(data, self.at);
        let end = match at_end {
            true => data.len(),
            false => memrchr(b'\n', data).map_or(0, |last| last + 1),
        };
        let mut start = 0;
        while start < end {
            let line_end = memchr(b'\n', &data[start..end]).map_or(end, |n| start + n + 1);
            if data[start..line_end]
                .iter()
                .any(|byte| !byte.is_ascii_whitespace())
            {
                self.at.row += 1;
            }
            self.at.line += u64::from(data[line_end - 1] == b'\n');
            start = line_end;
        }
        self.at.offset += end as u64;
        if self.at.row > at.row {
            pieces.push(Piece { range: 0..end, at });
        }
        Ok(end)
    }

    fn at(&self) -> At {
        self.at
    }
}

/// Values that may span lines: told apart by nesting and quotes. What stands between them (the
/// commas and brackets of an array) is overwritten by spaces when it is right and left to the
/// decoder to refuse when it is not.
struct Nested {
    at: At,
    name: Arc<str>,
    array: bool,
    /// The array has begun, a value was read in it, it has ended.
    opened: bool,
    comma_due: bool,
    closed: bool,
}

impl Nested {
    fn new(array: bool, name: &Arc<str>) -> Self {
        let name = Arc::clone(name);
        Self {
            at: At::START,
            name,
            array,
            opened: false,
            comma_due: false,
            closed: false,
        }
    }

    /// Overwrites a separator; true if `byte` was one.
    fn separator(&mut self, byte: &mut u8) -> bool {
        let right = self.array
            && !self.closed
            && match *byte {
                b'[' if !self.opened => {
                    self.opened = true;
                    true
                }
                b',' if self.comma_due => {
                    self.comma_due = false;
                    true
                }
                b']' if self.opened => {
                    self.closed = true;
                    true
                }
                _ => false,
            };
        if right {
            *byte = b' ';
        }
        right
    }
}

impl Cut for Nested {
    fn cut(&mut self, data: &mut [u8], at_end: bool, pieces: &mut Vec<Piece>) -> Result<usize> {
        let at = self.at;
        blank_mark(data, self.at);
        let (mut next, mut end) = (0, 0);
        while next < data.len() {
            if data[next].is_ascii_whitespace() || self.separator(&mut data[next]) {
                next += 1;
                end = next;
                continue;
            }
            let Some(length) = value_length(&data[next..], at_end) else {
                break;
            };
            self.at.row += 1;
            self.comma_due = true;
            next += length;
            end = next;
        }
        if at_end {
            end = data.len();
            if self.opened && !self.closed {
                let place = Place::Element(self.at.row);
                let what = "the file ends inside the array, it is not closed by `]`";
                return Err(Error::damaged(&self.name, place, what).into());
            }
        }
        self.at.offset += end as u64;
        self.at.line += memchr_iter(b'\n', &data[..end]).count() as u64;
        if end > 0 && !data[..end].trim_ascii().is_empty() {
            pieces.push(Piece { range: 0..end, at });
        }
        Ok(end)
    }

    fn at(&self) -> At {
        self.at
    }
}

/// The length of the value `data` begins with, if it ends in `data`.
pub(super) fn value_length(data: &[u8], at_end: bool) -> Option<usize> {
    let mut depth = 0usize;
    let mut next = 0;
    while next < data.len() {
        match data[next] {
            b'"' => next = text_end(data, next)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
            }
            b',' | b' ' | b'\n' | b'\r' | b'\t' if depth == 0 => return Some(next.max(1)),
            _ => {}
        }
        next += 1;
        let closes = matches!(data[next - 1], b'"' | b'}' | b']');
        if depth == 0 && (closes || data.get(next) == Some(&b']')) {
            return Some(next);
        }
    }
    at_end.then_some(data.len())
}

/// The place of the quote that closes the text begun at `start`.
fn text_end(data: &[u8], start: usize) -> Option<usize> {
    let mut next = start + 1;
    loop {
        let quote = next + memchr(b'"', data.get(next..)?)?;
        let escapes = data[start + 1..quote]
            .iter()
            .rev()
            .take_while(|&&b| b == b'\\')
            .count();
        if escapes % 2 == 0 {
            return Some(quote);
        }
        next = quote + 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Cuts `text` handed over in pieces of `step` bytes and returns the blocks with their places.
    fn blocks(layout: Layout, text: &str, step: usize) -> Vec<(u64, u64, String)> {
        let mut cutter = cutter(layout, &"t.json".into());
        let (mut found, mut carry, mut rest) = (Vec::new(), Vec::new(), text.as_bytes());
        loop {
            let read = rest.len().min(step);
            carry.extend_from_slice(&rest[..read]);
            rest = &rest[read..];
            let mut pieces = Vec::new();
            let end = cutter
                .cut(&mut carry, rest.is_empty(), &mut pieces)
                .unwrap();
            for piece in pieces {
                let block = String::from_utf8(carry[piece.range].trim_ascii().to_vec()).unwrap();
                found.push((piece.at.line, piece.at.row, block));
            }
            carry.drain(..end);
            if rest.is_empty() {
                return found;
            }
        }
    }

    #[test]
    fn lines_are_counted_and_blank_ones_are_no_rows() {
        let text = "{\"a\":1}\n\n  \r\n{\"a\":2}\n{\"a\":3}";
        for step in 1..text.len() {
            let found = blocks(Layout::Lines, text, step);
            let last = found.last().unwrap();
            assert!(last.2.ends_with("{\"a\":3}"), "{found:?}");
            let all: Vec<_> = found.iter().flat_map(|b| b.2.lines()).collect();
            assert_eq!(all.iter().filter(|line| !line.trim().is_empty()).count(), 3);
        }
        assert_eq!(blocks(Layout::Lines, text, 8)[1].0, 4);
    }

    #[test]
    fn elements_of_an_array_are_cut_whatever_the_pieces() {
        let text = "[ {\"a\": \"x]},\\\"\"},\n {\"a\": [1, 2]} , {\"a\": {\"b\": 3}}\n]\n";
        let want = [
            "{\"a\": \"x]},\\\"\"}",
            "{\"a\": [1, 2]}",
            "{\"a\": {\"b\": 3}}",
        ];
        for step in 1..text.len() + 1 {
            let found = blocks(Layout::Array, text, step);
            let all: String = found
                .iter()
                .map(|b| b.2.as_str())
                .collect::<Vec<_>>()
                .join(" ");
            for element in want {
                assert!(all.contains(element), "step {step}: {all}");
            }
            assert!(!all.contains("} ,"), "step {step}: {all}");
        }
    }

    #[test]
    fn values_over_several_lines_are_cut() {
        let text = "{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n";
        assert_eq!(blocks(Layout::Values, text, 12).len(), 2);
        assert_eq!(blocks(Layout::Values, text, 12)[1].0, 4);
    }
}
