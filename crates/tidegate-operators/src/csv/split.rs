//! Cuts a stream of bytes at record boundaries, exactly: a line end inside quotes is none.
//!
//! The caller keeps a buffer that starts at [`Splitter::position`], shows it to [`Splitter::cut`], and removes what was dealt
//! with. Every piece of whole records is at most `max_line_bytes` long, and the same bytes are cut into the same records
//! whatever the sizes of the buffer.

use std::sync::Arc;

use super::masks::{CHUNK, Lanes, Level, Needles, Quoting, chunk_at, with_lanes};
use super::messages;
use super::record::{self, State};
use super::{Dialect, Error, Kind, OnError, Position};

/// Finds record boundaries and keeps count of bytes, lines and records.
///
/// ```
/// use std::sync::Arc;
/// use tidegate_operators::csv::{Cut, Dialect, Position, Splitter};
/// let mut splitter = Splitter::new(Arc::new(Dialect::default()), 2, "a.csv".into(), Position::default());
/// let Cut::Records { end, .. } = splitter.cut(b"1,\"a\nb\"\n2,un", false) else { unreachable!() };
/// assert_eq!(end, 8);
/// assert_eq!(splitter.position(), Position { offset: 8, line: 3, row: 1 });
/// ```
#[derive(Debug, Clone)]
pub struct Splitter {
    dialect: Arc<Dialect>,
    file: Arc<str>,
    needles: Needles,
    level: Level,
    single_field: bool,
    at: Position,
    /// Bytes of an unfinished record that were looked at in vain; not looked at again until they have doubled.
    in_vain: usize,
    /// In the middle of a line that is too long and left out.
    discarding: bool,
    /// Fields a record has.
    fields: usize,
    /// Up to here each line is judged for itself: a record over several lines was broken, so its quotes are no pairs.
    judged_to: u64,
    /// Bytes looked at at once: few behind a broken record, since all are looked at again behind the next.
    window: usize,
}

/// So many lines, and delimiters in them, do not look like records by chance: text over several lines has commas too.
const NO_CHANCE: (usize, usize) = (3, 8);

/// The first window behind a broken record.
const WINDOW_MIN: usize = 1 << 10;

/// What the start of the buffer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Show more bytes, or say that there are none; at the end: all was dealt with.
    More,
    /// The first `end` bytes are whole records for [`super::Decoder::decode`], with `at`; remove them.
    Records {
        /// Bytes of whole records.
        end: usize,
        /// Where they start.
        at: Position,
    },
    /// The first `end` bytes are a line that cannot be read: fail, or note it and remove them.
    Broken {
        /// Bytes of the line.
        end: usize,
        /// What is wrong with it.
        error: Error,
    },
    /// The first `end` bytes belong to a broken line already spoken of; remove them.
    Drop {
        /// Bytes of the line.
        end: usize,
    },
}

impl Splitter {
    /// Cuts from `at` on, which must be the start of a record; `fields` is how many the file has.
    pub fn new(dialect: Arc<Dialect>, fields: usize, file: Arc<str>, at: Position) -> Self {
        Self {
            needles: Needles::new(&dialect),
            level: Level::detect(),
            single_field: fields == 1,
            dialect,
            file,
            at,
            in_vain: 0,
            discarding: false,
            fields,
            judged_to: 0,
            window: usize::MAX,
        }
    }

    /// Where the first byte not yet dealt with stands.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Says what `data`, which starts at [`Splitter::position`], begins with. `at_end`: no bytes follow it.
    pub fn cut(&mut self, data: &[u8], at_end: bool) -> Cut {
        if data.is_empty() {
            return Cut::More;
        }
        if self.discarding {
            return self.discard(data, at_end);
        }
        if self.at.offset < self.judged_to {
            return self.line(data);
        }
        if self.window < data.len() {
            let window = self.window;
            self.window = window.saturating_mul(2);
            match self.cut_whole(&data[..window], false) {
                Cut::More => self.in_vain = 0,
                found => return found,
            }
        }
        self.cut_whole(data, at_end)
    }

    fn cut_whole(&mut self, data: &[u8], at_end: bool) -> Cut {
        // A carriage return at the end may be half of a line end.
        let usable = data.len() - usize::from(!at_end && data.ends_with(b"\r"));
        let mut limit = usable.min(self.dialect.max_line_bytes);
        if limit < usable && data[limit - 1] == b'\r' && data[limit] == b'\n' {
            limit += 1;
        }
        let whole = limit == usable;
        if whole && !at_end && data.len() < 2 * self.in_vain {
            return Cut::More;
        }
        let found = self.scan(&data[..limit]);
        if whole && at_end && !found.inside {
            return self.sound_records(data, data.len(), found.total());
        }
        if found.end > 0 {
            return self.sound_records(data, found.end, found.counted());
        }
        if whole && !at_end {
            self.in_vain = data.len();
            return Cut::More;
        }
        self.broken(data, at_end, found.inside)
    }

    /// Whole records up to `end`. Where rows may be left out a broken record over several lines may be many lines
    /// between two quotes that do not belong together: it is not among them, and its lines are judged one by one.
    fn sound_records(&mut self, data: &[u8], end: usize, (lines, records): (u64, u64)) -> Cut {
        let is_open = !matches!(data[..end].last(), Some(b'\n' | b'\r'));
        if self.dialect.on_error == OnError::Fail || lines + u64::from(is_open) <= records {
            return self.records(end, (lines, records));
        }
        let (mut next, mut counted) = (0, (0, 0));
        while next < end {
            let record = record::read(&data[..end], next, &self.dialect);
            let lines = record::count_lines(&data[next..record.next]);
            let text = &data[record.text.clone()];
            let inner = record::count_lines(text);
            if inner > 0 && (self.is_broken(&record) || self.is_many(text)) {
                if next > 0 {
                    self.window = WINDOW_MIN;
                    return self.records(next, counted);
                }
                self.judged_to = self.at.offset + record.next as u64;
                self.window = WINDOW_MIN;
                return self.line(data);
            }
            counted.0 += lines;
            counted.1 +=
                u64::from(!matches!(record.state, State::Comment) && !self.is_blank(&record));
            next = record.next.max(next + 1);
        }
        self.records(end, (lines, records))
    }

    /// The line at the start of `data`, for itself.
    fn line(&mut self, data: &[u8]) -> Cut {
        let rest = usize::try_from(self.judged_to - self.at.offset).unwrap_or(usize::MAX);
        let data = &data[..data.len().min(rest)];
        let text = memchr::memchr2(b'\n', b'\r', data).unwrap_or(data.len());
        let end = match (data.get(text), data.get(text + 1)) {
            (Some(b'\r'), Some(b'\n')) => text + 2,
            (Some(_), _) => text + 1,
            (None, _) => text,
        };
        let record = record::read(&data[..text.max(1).min(data.len())], 0, &self.dialect);
        let lines = u64::from(end > text);
        if record.state == State::Comment || self.is_blank(&record) {
            return self.records(end, (lines, 0));
        }
        let stray = |field: &record::RawField| {
            !field.quoted
                && self.dialect.quote.is_some_and(|quote| {
                    memchr::memchr(quote, &data[field.range.clone()]).is_some()
                })
        };
        if !self.is_broken(&record) && !record.fields.iter().any(stray) {
            return self.records(end, (lines, 1));
        }
        let error = match record.state {
            State::Whole if record.fields.len() == self.fields => {
                Error::new(Kind::Quote, &self.file, "a quote without a partner")
                    .at(self.at.line, &data[..text])
            }
            _ => messages::bad_record(
                &data[..text],
                0,
                self.at.line,
                self.fields,
                &self.dialect,
                &self.file,
            ),
        };
        self.in_vain = 0;
        self.at = Position {
            offset: self.at.offset + end as u64,
            line: self.at.line + lines,
            row: self.at.row + 1,
        };
        Cut::Broken { end, error }
    }

    /// Whether a record's quotes or its number of fields are wrong.
    fn is_broken(&self, record: &record::Record) -> bool {
        match record.state {
            State::Whole => {
                let fields = record.fields.len();
                fields > self.fields || fields < self.fields && !self.dialect.null_padding
            }
            State::Blank | State::Comment => false,
            State::TextAfterQuote | State::Unterminated { .. } => true,
        }
    }

    /// Whether the lines of a record look like records themselves, so that its quotes are hardly a pair: each has all
    /// the delimiters that a record has, and that is no chance.
    fn is_many(&self, text: &[u8]) -> bool {
        let each = self.fields.saturating_sub(1);
        let lines = text.split(|byte| *byte == b'\n').flat_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            line.split(|byte| *byte == b'\r')
        });
        let mut count = 0;
        for line in lines {
            count += 1;
            if memchr::memchr_iter(self.dialect.delimiter, line).count() != each {
                return false;
            }
        }
        count >= NO_CHANCE.0 && count * each >= NO_CHANCE.1
    }

    /// An empty line is a record only where there is one column.
    fn is_blank(&self, record: &record::Record) -> bool {
        record.state == State::Blank && !self.single_field
    }

    fn records(&mut self, end: usize, (lines, records): (u64, u64)) -> Cut {
        let at = self.at;
        self.in_vain = 0;
        self.at = Position {
            offset: at.offset + end as u64,
            line: at.line + lines,
            row: at.row + records,
        };
        Cut::Records { end, at }
    }

    /// The physical line at the start of `data` opens a quote that does not close, or is too long.
    fn broken(&mut self, data: &[u8], at_end: bool, inside: bool) -> Cut {
        let (text, end) = match memchr::memchr2(b'\n', b'\r', data) {
            Some(end) if data[end] == b'\r' && data.get(end + 1) == Some(&b'\n') => (end, end + 2),
            Some(end) if at_end || data[end] == b'\n' || end + 1 < data.len() => (end, end + 1),
            found => {
                // A carriage return at the very end may be half of the line end: it is looked at with what follows.
                self.discarding = !at_end;
                let end = found.unwrap_or(data.len());
                (end, end)
            }
        };
        let limit = self.dialect.max_line_bytes;
        let error = if inside {
            self.unterminated(data, at_end && data.len() <= limit)
        } else {
            Error::new(
                Kind::TooLong,
                &self.file,
                format!("the record is longer than {limit} bytes"),
            )
            .at(self.at.line, &data[..text.min(limit).min(1000)])
            .hint("max_line_size sets the limit")
        };
        let line_ends = u64::from(end > text);
        self.in_vain = 0;
        self.at = Position {
            offset: self.at.offset + end as u64,
            line: self.at.line + line_ends,
            row: self.at.row + 1,
        };
        Cut::Broken { end, error }
    }

    fn unterminated(&self, data: &[u8], at_end: bool) -> Error {
        let data = &data[..data.len().min(self.dialect.max_line_bytes)];
        let opened = match record::read(data, 0, &self.dialect).state {
            State::Unterminated { quote_at } => quote_at,
            _ => 0,
        };
        let line = self.at.line + record::count_lines(&data[..opened]);
        let start = memchr::memrchr2(b'\n', b'\r', &data[..opened]).map_or(0, |at| at + 1);
        let end =
            memchr::memchr2(b'\n', b'\r', &data[opened..]).map_or(data.len(), |at| opened + at);
        let reason = if at_end {
            "the quote that opens here never closes".to_owned()
        } else {
            format!(
                "the quote that opens here does not close within {} bytes",
                self.dialect.max_line_bytes
            )
        };
        Error::new(Kind::Quote, &self.file, reason)
            .at(line, &data[start..end])
            .hint("say quote='' if quotes mean nothing, or max_line_size if the value is that long")
    }

    fn discard(&mut self, data: &[u8], at_end: bool) -> Cut {
        let end = match memchr::memchr2(b'\n', b'\r', data) {
            Some(end) if data[end] == b'\r' && data.get(end + 1) == Some(&b'\n') => end + 2,
            Some(end) if !at_end && data[end] == b'\r' && end + 1 == data.len() => {
                if end == 0 {
                    return Cut::More;
                }
                self.at.offset += end as u64;
                return Cut::Drop { end };
            }
            Some(end) => end + 1,
            None => {
                self.at.offset += data.len() as u64;
                return Cut::Drop { end: data.len() };
            }
        };
        self.discarding = false;
        self.at.offset += end as u64;
        self.at.line += 1;
        Cut::Drop { end }
    }

    fn scan(&self, data: &[u8]) -> Scan {
        let comment = self.dialect.comment;
        let mut scan = Scan {
            single_field: self.single_field,
            comment,
            doubles: self.dialect.doubles(),
            quote: self.dialect.quote,
            in_comment: comment.is_some() && data.first().copied() == comment,
            ..Scan::default()
        };
        with_lanes!(
            self.level,
            scan_with,
            scan_avx2,
            (&self.needles, data, &mut scan)
        );
        scan.inside = scan.quoting.inside && !scan.in_comment;
        scan.length = data.len();
        scan
    }
}

/// What is known up to some place of the buffer.
#[derive(Debug, Default)]
struct Scan {
    single_field: bool,
    comment: Option<u8>,
    doubles: bool,
    quote: Option<u8>,
    quoting: Quoting,
    in_comment: bool,
    /// Line ends seen, and those up to `end`.
    lines: u64,
    lines_to_end: u64,
    /// Records up to `end`.
    records: u64,
    /// The last record boundary.
    end: usize,
    inside: bool,
    length: usize,
}

impl Scan {
    /// Lines and records up to the last boundary.
    fn counted(&self) -> (u64, u64) {
        (self.lines_to_end, self.records)
    }

    /// Lines and records when the bytes after the last boundary are a record too.
    fn total(&self) -> (u64, u64) {
        let rest = u64::from(self.end < self.length && !self.in_comment);
        (self.lines, self.records + rest)
    }

    /// A chunk without surprises: all by masks.
    #[inline(always)]
    fn chunk(&mut self, line: u64, carriage: u64, inside: u64, data: &[u8], base: usize) {
        let after_carriage = base > 0 && data[base - 1] == b'\r';
        let second = line & !carriage & (carriage << 1 | u64::from(after_carriage));
        let ends = line & !second;
        let outside = line & !inside;
        let blank = ends & (outside << 1 | u64::from(self.end == base));
        let blank = if self.single_field { 0 } else { blank };
        self.records += u64::from((ends & outside & !blank).count_ones());
        // Without a branch, as it could not be foretold.
        let any = outside != 0;
        let last = 63 - (outside | 1).leading_zeros();
        let lines = self.lines + u64::from((ends & (!0u64 >> (63 - last))).count_ones());
        self.end = if any {
            base + last as usize + 1
        } else {
            self.end
        };
        self.lines_to_end = if any { lines } else { self.lines_to_end };
        self.lines += u64::from(ends.count_ones());
    }

    /// A chunk byte by byte.
    #[cold]
    fn slowly(&mut self, needles: &Needles, mut bits: u64, data: &[u8], base: usize) {
        if self.quoting.closed && data.get(base).copied() == self.quote {
            self.quoting.inside = true;
            self.quoting.skip_to = base + 1;
        }
        self.quoting.closed = false;
        while bits != 0 {
            let at = base + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let byte = data[at];
            if byte == b'\n' || byte == b'\r' {
                self.line_end(data, at);
            } else if at >= self.quoting.skip_to && !self.in_comment {
                self.special(needles, data, at);
            }
        }
    }

    fn line_end(&mut self, data: &[u8], at: usize) {
        let second = data[at] == b'\n' && at > 0 && data[at - 1] == b'\r';
        self.lines += u64::from(!second);
        if self.quoting.inside || (second && self.end != at) {
            return;
        }
        if !second && !self.in_comment && (self.single_field || self.end != at) {
            self.records += 1;
        }
        self.end = at + 1;
        self.lines_to_end = self.lines;
        self.in_comment = self.comment.is_some() && data.get(at + 1).copied() == self.comment;
    }

    fn special(&mut self, needles: &Needles, data: &[u8], at: usize) {
        let is_quote = Some(data[at]) == self.quote;
        if !self.quoting.inside {
            self.quoting.inside = is_quote && needles.opens(data, at);
        } else if !is_quote || (self.doubles && data.get(at + 1).copied() == self.quote) {
            self.quoting.skip_to = at + 2;
        } else {
            self.quoting.inside = false;
        }
    }
}

#[inline(always)]
fn scan_with<L: Lanes>(needles: &Needles, data: &[u8], scan: &mut Scan) {
    let mut spare = [0; CHUNK];
    let mut base = 0;
    while base < data.len() {
        let masks = L::masks(needles, chunk_at(data, base, &mut spare));
        let inside = match scan.comment {
            None => needles.inside(&masks, &mut scan.quoting, data, base),
            Some(_) => None,
        };
        match inside {
            Some((inside, _)) => scan.chunk(masks.line, masks.carriage, inside, data, base),
            None => scan.slowly(needles, masks.line | masks.special, data, base),
        }
        base += CHUNK;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt")]
unsafe fn scan_avx2(needles: &Needles, data: &[u8], scan: &mut Scan) {
    scan_with::<super::masks::Avx2>(needles, data, scan);
}
