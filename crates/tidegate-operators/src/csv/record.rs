//! One record read byte by byte: for the head of a file, for messages, and where speed does not matter.

use std::borrow::Cow;
use std::ops::Range;

use super::Dialect;

/// One record, or a line that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) fields: Vec<RawField>,
    /// Its bytes without the line end.
    pub(super) text: Range<usize>,
    /// Where the next one starts.
    pub(super) next: usize,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    Blank,
    Comment,
    /// The quote opened there does not close before the data's end.
    Unterminated {
        quote_at: usize,
    },
    /// Text follows a closing quote.
    TextAfterQuote,
}

/// A field's bytes, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawField {
    pub(super) range: Range<usize>,
    pub(super) quoted: bool,
    escaped: bool,
}

impl RawField {
    pub(super) fn bytes<'a>(&self, data: &'a [u8], dialect: &Dialect) -> Cow<'a, [u8]> {
        let bytes = &data[self.range.clone()];
        if self.escaped {
            let mut text = Vec::with_capacity(bytes.len());
            unescape(bytes, dialect, &mut text);
            Cow::Owned(text)
        } else {
            Cow::Borrowed(bytes)
        }
    }

    pub(super) fn text<'a>(&self, data: &'a [u8], dialect: &Dialect) -> Cow<'a, str> {
        match self.bytes(data, dialect) {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

/// Appends the inside of a quoted field to `out` without its escapes.
pub(super) fn unescape(bytes: &[u8], dialect: &Dialect, out: &mut Vec<u8>) {
    let escape = dialect.escape.or(dialect.quote).unwrap_or(b'"');
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(escape, rest) {
        out.extend_from_slice(&rest[..at]);
        match rest.get(at + 1) {
            Some(&byte) => out.push(byte),
            None => out.push(escape),
        }
        rest = &rest[(at + 2).min(rest.len())..];
    }
    out.extend_from_slice(rest);
}

/// Reads the record that starts at `start`, which is before the end of `data`.
pub(super) fn read(data: &[u8], start: usize, dialect: &Dialect) -> Record {
    let mut record = Record {
        fields: Vec::new(),
        text: start..start,
        next: start,
        state: State::Whole,
    };
    let line_end =
        || memchr::memchr2(b'\n', b'\r', &data[start..]).map_or(data.len(), |at| start + at);
    if dialect.comment.is_some() && data.get(start).copied() == dialect.comment {
        record.state = State::Comment;
        return record.ends(data, line_end());
    }
    if matches!(data.get(start), Some(b'\n' | b'\r')) {
        record.state = State::Blank;
        record.fields.push(RawField {
            range: start..start,
            quoted: false,
            escaped: false,
        });
        return record.ends(data, start);
    }
    let mut at = start;
    loop {
        let (field, end) = match read_field(data, at, dialect, &mut record.state) {
            Some(found) => found,
            None => {
                record.state = State::Unterminated { quote_at: at };
                return record.ends(data, line_end());
            }
        };
        record.fields.push(field);
        if data.get(end).copied() != Some(dialect.delimiter) {
            return record.ends(data, end);
        }
        at = end + 1;
    }
}

impl Record {
    fn ends(mut self, data: &[u8], end: usize) -> Self {
        self.text.end = end;
        self.next = match (data.get(end), data.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) => end + 2,
            (Some(_), _) => end + 1,
            (None, _) => end,
        };
        self
    }
}

/// The field at `start` and where it ends; none when its quote does not close.
fn read_field(
    data: &[u8],
    start: usize,
    dialect: &Dialect,
    state: &mut State,
) -> Option<(RawField, usize)> {
    let field_end = |from: usize| {
        let rest = data.get(from..).unwrap_or_default();
        memchr::memchr3(dialect.delimiter, b'\n', b'\r', rest).map_or(data.len(), |at| from + at)
    };
    let Some(quote) = dialect
        .quote
        .filter(|&quote| data.get(start) == Some(&quote))
    else {
        let end = field_end(start);
        return Some((
            RawField {
                range: start..end,
                quoted: false,
                escaped: false,
            },
            end,
        ));
    };
    let doubles = dialect.doubles();
    let escape = dialect.escape.unwrap_or(quote);
    let mut escaped = false;
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(quote, escape, data.get(at..)?)?;
        let doubled = doubles && data.get(at + 1) == Some(&quote);
        if doubled || (!doubles && data[at] == escape) {
            escaped = true;
            at += 2;
            continue;
        }
        let end = field_end(at + 1);
        if end > at + 1 {
            *state = State::TextAfterQuote;
        }
        return Some((
            RawField {
                range: start + 1..at,
                quoted: true,
                escaped,
            },
            end,
        ));
    }
}

/// How many lines end in `data`.
pub(super) fn count_lines(data: &[u8]) -> u64 {
    let mut lines = memchr::memchr_iter(b'\n', data).count() as u64;
    for at in memchr::memchr_iter(b'\r', data) {
        lines += u64::from(data.get(at + 1) != Some(&b'\n'));
    }
    lines
}
